// Command seedhub is the public side of the original system, kept as it was, faults included: it
// takes any agent under any id, makes an HTTP transport for each request and never closes it, and
// answers every failure with 400.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"sync"

	"github.com/gin-gonic/gin"
	"github.com/gorilla/websocket"
	"github.com/hashicorp/yamux"
)

type hub struct {
	lock     sync.Mutex
	sessions map[string][]*yamux.Session
	upgrader websocket.Upgrader
}

// attach upgrades the request and runs yamux on the connection under the WebSocket: after the 101
// the bytes are yamux frames, never WebSocket frames.
func (h *hub) attach(c *gin.Context) {
	id := c.Param("id")
	conn, err := h.upgrader.Upgrade(c.Writer, c.Request, nil)
	if err != nil {
		log.Println("upgrade:", err)
		return
	}
	session, err := yamux.Server(conn.UnderlyingConn(), nil)
	if err != nil {
		log.Println("session:", err)
		conn.Close()
		return
	}
	h.lock.Lock()
	h.sessions[id] = append(h.sessions[id], session)
	h.lock.Unlock()
	fmt.Println("attached", id)
}

func (h *hub) pick(id string) *yamux.Session {
	h.lock.Lock()
	defer h.lock.Unlock()
	sessions := h.sessions[id]
	if len(sessions) == 0 {
		return nil
	}
	return sessions[rand.Intn(len(sessions))]
}

func (h *hub) drop(id string, gone *yamux.Session) {
	gone.Close()
	h.lock.Lock()
	defer h.lock.Unlock()
	sessions := h.sessions[id]
	for i, session := range sessions {
		if session == gone {
			h.sessions[id] = append(sessions[:i:i], sessions[i+1:]...)
			return
		}
	}
}

// open gives a stream of a session of id chosen at random; a session that cannot open one is
// closed and forgotten, and the next is tried.
func (h *hub) open(id string) (net.Conn, error) {
	for {
		session := h.pick(id)
		if session == nil {
			return nil, fmt.Errorf("no session found in '%s'", id)
		}
		conn, err := session.Open()
		if err == nil {
			return conn, nil
		}
		h.drop(id, session)
	}
}

func (h *hub) proxy(c *gin.Context) {
	id := c.Param("id")
	proxy := &httputil.ReverseProxy{
		Director: func(r *http.Request) {
			r.URL.Scheme = "http"
			r.URL.Host = r.Host
			if host := c.Query("x-proxy-host"); host != "" {
				r.Header.Add("X-Proxy-Host", host)
			}
			r.Header.Set("X-Proxy-Path", c.Param("proxyPath"))
		},
		// One transport for each request, never reused and never closed.
		Transport: &http.Transport{
			DialContext: func(context.Context, string, string) (net.Conn, error) {
				return h.open(id)
			},
		},
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) {
			c.JSON(http.StatusBadRequest, gin.H{"msg": err.Error()})
		},
		ErrorLog: log.New(os.Stderr, "", log.LstdFlags),
	}
	proxy.ServeHTTP(c.Writer, c.Request)
}

func main() {
	address := flag.String("addr", "127.0.0.1:8882", "address to listen on")
	flag.Parse()
	gin.SetMode(gin.ReleaseMode)
	gin.DefaultErrorWriter = io.Discard
	h := &hub{sessions: map[string][]*yamux.Session{}}
	engine := gin.New()
	engine.Use(gin.Recovery())
	routes := engine.Group("/api/v1")
	routes.GET("/hubs/:id", h.attach)
	routes.Any("/proxy/:id/*proxyPath", h.proxy)
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening", listener.Addr())
	log.Fatal(http.Serve(listener, engine))
}
