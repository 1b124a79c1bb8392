package main

import (
	"io"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
)

const (
	pingPongs   = 100
	messageSize = 64
	piece       = 256 << 10
	idleTime    = 2 * time.Second
)

// Cases that have more to say than how long they took.
var scales = map[string]func(client, server *yamux.Session, count, size int, figures map[string]any){
	"streams": idleStreams, "fair": fair, "wan": wan,
}

func inUse() uint64 {
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	return memory.HeapInuse + memory.StackInuse
}

// idleStreams opens count streams and keeps them: bytes for each stream at each end.
func idleStreams(client, server *yamux.Session, count, _ int, figures map[string]any) {
	before := inUse()
	start := time.Now()
	kept := make([]*yamux.Stream, 0, 2*count)
	accepted := make(chan []*yamux.Stream)
	go func() {
		streams := make([]*yamux.Stream, 0, count)
		for range count {
			stream, err := server.AcceptStream()
			check(err)
			streams = append(streams, stream)
		}
		accepted <- streams
	}()
	for range count {
		stream, err := client.OpenStream()
		check(err)
		kept = append(kept, stream)
	}
	kept = append(kept, <-accepted...)
	figures["seconds"] = time.Since(start).Seconds()
	figures["memory"] = float64(inUse()-before) / float64(2*count)
	runtime.KeepAlive(kept)
}

// fair holds ping-pongs on 100 streams, first alone, then beside size bytes on one stream: both p99 in seconds.
func fair(client, server *yamux.Session, _, size int, figures map[string]any) {
	go func() {
		for {
			stream, err := server.AcceptStream()
			if err != nil {
				return
			}
			go func() {
				first := make([]byte, 1)
				if _, err := io.ReadFull(stream, first); err != nil {
					return
				}
				if first[0] == 1 {
					_, _ = io.Copy(io.Discard, stream)
					_ = stream.Close()
					return
				}
				_, _ = stream.Write(first)
				_, _ = io.Copy(stream, stream)
			}()
		}
	}()
	var lock sync.Mutex
	var times []float64
	for range pingPongs {
		stream, err := client.OpenStream()
		check(err)
		go func() {
			message := make([]byte, messageSize)
			for {
				start := time.Now()
				if _, err := stream.Write(message); err != nil {
					return
				}
				if _, err := io.ReadFull(stream, message); err != nil {
					return
				}
				lock.Lock()
				times = append(times, time.Since(start).Seconds())
				lock.Unlock()
			}
		}()
	}
	taken := func() float64 {
		lock.Lock()
		defer lock.Unlock()
		slices.Sort(times)
		p99 := times[len(times)*99/100]
		times = nil
		return p99
	}
	time.Sleep(idleTime)
	figures["idle"] = taken()
	start := time.Now()
	bulk, err := client.OpenStream()
	check(err)
	body := make([]byte, piece)
	for i := range body {
		body[i] = 1
	}
	for range size / piece {
		_, err := bulk.Write(body)
		check(err)
	}
	check(bulk.Close())
	_, err = io.Copy(io.Discard, bulk)
	check(err)
	figures["seconds"] = time.Since(start).Seconds()
	figures["busy"] = taken()
}

// wan sends twice size bytes on one stream and times the second half, when a window that grows has grown.
func wan(client, server *yamux.Session, _, size int, figures map[string]any) {
	go func() {
		stream, err := client.OpenStream()
		check(err)
		body := make([]byte, piece)
		for range 2 * size / piece {
			if _, err := stream.Write(body); err != nil {
				return
			}
		}
	}()
	stream, err := server.AcceptStream()
	check(err)
	_, err = io.CopyN(io.Discard, stream, int64(size))
	check(err)
	start := time.Now()
	_, err = io.CopyN(io.Discard, stream, int64(size))
	check(err)
	figures["seconds"] = time.Since(start).Seconds()
}
