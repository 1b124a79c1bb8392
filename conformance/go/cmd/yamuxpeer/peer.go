package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/yamux"
)

type countedConn struct {
	net.Conn
	in, out atomic.Int64
}

func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.in.Add(int64(n))
	return n, err
}

func (c *countedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.out.Add(int64(n))
	return n, err
}

type peer struct {
	session          *yamux.Session
	conn             *countedConn
	lock             sync.Mutex
	streams          map[uint32]*channel
	opened, accepted int
}

func newPeer(session *yamux.Session, conn *countedConn) *peer {
	return &peer{session: session, conn: conn, streams: map[uint32]*channel{}}
}

var errUsage = errors.New("usage")

// kind names an error in a stable way, since texts may change between versions.
func kind(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, errUsage):
		return "usage"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "eof"
	case errors.Is(err, yamux.ErrConnectionReset):
		return "reset"
	case errors.Is(err, yamux.ErrRemoteGoAway):
		return "goaway"
	case errors.Is(err, yamux.ErrSessionShutdown):
		return "shutdown"
	case errors.Is(err, yamux.ErrStreamClosed):
		return "closed"
	case errors.Is(err, yamux.ErrStreamsExhausted):
		return "exhausted"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	}
	return "other"
}

func usage(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errUsage, fmt.Sprintf(format, args...))
}

func number(words []string, i int) (int64, error) {
	if i >= len(words) {
		return 0, usage("argument %d is missing", i)
	}
	n, err := strconv.ParseInt(words[i], 10, 64)
	if err != nil || n < 0 {
		return 0, usage("%q is not a number", words[i])
	}
	return n, nil
}

func (p *peer) keep(stream *yamux.Stream) *channel {
	p.lock.Lock()
	defer p.lock.Unlock()
	c := &channel{Stream: stream}
	p.streams[stream.StreamID()] = c
	return c
}

func (p *peer) channel(words []string) (*channel, error) {
	id, err := number(words, 1)
	if err != nil {
		return nil, err
	}
	p.lock.Lock()
	defer p.lock.Unlock()
	c := p.streams[uint32(id)]
	if c == nil {
		return nil, usage("no stream %d", id)
	}
	return c, nil
}

// run does one command of the session or hands it to the stream it names.
func (p *peer) run(words []string) (result, error) {
	switch words[0] {
	case "open":
		return p.open()
	case "accept":
		return p.accept(words)
	case "ping":
		rtt, err := p.session.Ping()
		return result{"us": rtt.Microseconds()}, err
	case "goaway":
		return nil, p.session.GoAway()
	case "sclose":
		return nil, p.session.Close()
	case "num":
		return result{"num": p.session.NumStreams(), "closed": p.session.IsClosed()}, nil
	case "counts":
		return p.counts(), nil
	case "drop":
		return nil, p.conn.Close()
	case "sleep":
		ms, err := number(words, 1)
		time.Sleep(time.Duration(ms) * time.Millisecond)
		return nil, err
	case "closed":
		return p.closed(words)
	case "serve":
		return p.serve(words)
	case "burst":
		return p.burst(words)
	}
	c, err := p.channel(words)
	if err != nil {
		return nil, err
	}
	return c.run(words)
}

func (p *peer) open() (result, error) {
	stream, err := p.session.OpenStream()
	if err != nil {
		return nil, err
	}
	p.lock.Lock()
	p.opened++
	p.lock.Unlock()
	p.keep(stream)
	return result{"id": stream.StreamID()}, nil
}

// accept waits for a stream, for at most the given milliseconds (10 s when not given).
func (p *peer) accept(words []string) (result, error) {
	ctx, cancel, err := within(words, 1)
	if err != nil {
		return nil, err
	}
	defer cancel()
	stream, err := p.session.AcceptStreamWithContext(ctx)
	if err != nil {
		return nil, err
	}
	p.lock.Lock()
	p.accepted++
	p.lock.Unlock()
	p.keep(stream)
	return result{"id": stream.StreamID()}, nil
}

func within(words []string, i int) (context.Context, context.CancelFunc, error) {
	ms := int64(10_000)
	if i < len(words) {
		var err error
		if ms, err = number(words, i); err != nil {
			return nil, nil, err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(ms)*time.Millisecond)
	return ctx, cancel, nil
}

func (p *peer) closed(words []string) (result, error) {
	ctx, cancel, err := within(words, 1)
	if err != nil {
		return nil, err
	}
	defer cancel()
	select {
	case <-p.session.CloseChan():
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *peer) counts() result {
	p.lock.Lock()
	defer p.lock.Unlock()
	return result{
		"opened": p.opened, "accepted": p.accepted, "num": p.session.NumStreams(),
		"closed": p.session.IsClosed(), "bytes_in": p.conn.in.Load(), "bytes_out": p.conn.out.Load(),
		"goroutines": runtime.NumGoroutine(),
	}
}

// serve accepts streams for ever and echoes or discards what they bring: serve echo|sink.
func (p *peer) serve(words []string) (result, error) {
	if len(words) != 2 || (words[1] != "echo" && words[1] != "sink") {
		return nil, usage("serve echo|sink")
	}
	go func() {
		for {
			stream, err := p.session.AcceptStream()
			if err != nil {
				return
			}
			p.lock.Lock()
			p.accepted++
			p.lock.Unlock()
			go func() {
				defer stream.Close()
				if words[1] == "echo" {
					_, _ = io.Copy(stream, stream)
				} else {
					_, _ = io.Copy(io.Discard, stream)
				}
			}()
		}
	}()
	return nil, nil
}

// burst opens COUNT streams at once, writes SIZE pattern bytes on each, half-closes, and reads the
// echo to its end: burst COUNT SIZE. It gives how many came back whole and the first error.
func (p *peer) burst(words []string) (result, error) {
	count, err := number(words, 1)
	if err != nil {
		return nil, err
	}
	size, err := number(words, 2)
	if err != nil {
		return nil, err
	}
	var wait sync.WaitGroup
	var whole atomic.Int64
	failures := make(chan error, count)
	for range count {
		wait.Add(1)
		go func() {
			defer wait.Done()
			if err := p.roundTrip(size); err != nil {
				failures <- err
				return
			}
			whole.Add(1)
		}()
	}
	wait.Wait()
	close(failures)
	return result{"ok": whole.Load()}, <-failures
}

func (p *peer) roundTrip(size int64) error {
	stream, err := p.session.OpenStream()
	if err != nil {
		return err
	}
	p.lock.Lock()
	p.opened++
	p.lock.Unlock()
	c := &channel{Stream: stream}
	sent := make(chan error, 1)
	go func() {
		_, err := c.write(size)
		if err == nil {
			err = stream.Close()
		}
		sent <- err
	}()
	sum := newSum(0)
	n, err := io.Copy(sum, stream)
	switch {
	case err != nil:
		return err
	case n != size:
		return fmt.Errorf("stream %d: %d of %d bytes came back", stream.StreamID(), n, size)
	case sum.bad >= 0:
		return fmt.Errorf("stream %d: wrong byte at %d", stream.StreamID(), sum.bad)
	}
	return <-sent
}
