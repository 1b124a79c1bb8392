package main

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strings"
	"time"

	"github.com/hashicorp/yamux"
)

const (
	patternPeriod = 251
	shownBytes    = 4096 // results carry at most this much data as hex
)

type channel struct {
	*yamux.Stream
	sent, received int64
}

func (c *channel) run(words []string) (result, error) {
	switch words[0] {
	case "close":
		return nil, c.Close()
	case "shrink":
		c.Shrink()
		return nil, nil
	case "echo":
		n, err := io.Copy(c.Stream, c.Stream)
		return result{"len": n}, err
	case "drain", "sha":
		return c.drain()
	case "text":
		n, err := c.Write([]byte(strings.Join(words[2:], " ")))
		return result{"len": n}, err
	}
	n, err := number(words, 2)
	if err != nil {
		return nil, err
	}
	limit := time.Time{}
	if n > 0 {
		limit = time.Now().Add(time.Duration(n) * time.Millisecond)
	}
	switch words[0] {
	case "write":
		done, err := c.write(n)
		return result{"len": done}, err
	case "read":
		return c.read(n, false)
	case "readfull":
		return c.read(n, true)
	case "deadline":
		return nil, c.SetDeadline(limit)
	case "rdeadline":
		return nil, c.SetReadDeadline(limit)
	case "wdeadline":
		return nil, c.SetWriteDeadline(limit)
	}
	return nil, usage("no command %q", words[0])
}

// write sends n pattern bytes as one Write, since the frame sizes follow from it; above 4 MiB it
// writes in pieces of that size.
func (c *channel) write(n int64) (int64, error) {
	const most = 4 << 20
	var done int64
	for {
		piece := make([]byte, min(n-done, most))
		for i := range piece {
			piece[i] = byte((c.sent + int64(i)) % patternPeriod)
		}
		written, err := c.Write(piece)
		c.sent += int64(written)
		done += int64(written)
		if err != nil || done == n {
			return done, err
		}
	}
}

func (c *channel) read(n int64, full bool) (result, error) {
	buffer := make([]byte, n)
	var got int
	var err error
	if full {
		got, err = io.ReadFull(c.Stream, buffer)
	} else {
		got, err = c.Read(buffer)
	}
	sum := newSum(c.received)
	_, _ = sum.Write(buffer[:got])
	c.received += int64(got)
	r := sum.result()
	r["data"] = hex.EncodeToString(buffer[:min(got, shownBytes)])
	return r, err
}

// drain reads to the end of the stream; a clean end is no error.
func (c *channel) drain() (result, error) {
	sum := newSum(c.received)
	n, err := io.Copy(sum, c.Stream)
	c.received += n
	return sum.result(), err
}

// checksum counts and hashes bytes and notes the first that is off the pattern.
type checksum struct {
	hash interface {
		io.Writer
		Sum([]byte) []byte
	}
	offset, length, bad int64
}

func newSum(offset int64) *checksum {
	return &checksum{hash: sha256.New(), offset: offset, bad: -1}
}

func (s *checksum) Write(b []byte) (int, error) {
	if s.bad < 0 {
		for i, value := range b {
			if value != byte((s.offset+s.length+int64(i))%patternPeriod) {
				s.bad = s.offset + s.length + int64(i)
				break
			}
		}
	}
	s.length += int64(len(b))
	return s.hash.Write(b)
}

func (s *checksum) result() result {
	return result{"len": s.length, "sha256": hex.EncodeToString(s.hash.Sum(nil)), "bad": s.bad}
}
