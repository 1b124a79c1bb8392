// A client of the hub's management API in Go, generated from the protos the hub is made of.
//
//	go-client -hub unix:///run/hubd/admin.sock list
//	go-client -hub unix:///run/hubd/admin.sock watch
//	go-client -hub hub.example.com:7443 -token-file admin.token push AGENT SERVICE TARGET
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	agentv1 "example.com/tunnelhub-client/tunnelpb/agent/v1"
	hubv1 "example.com/tunnelhub-client/tunnelpb/hub/v1"
)

// For a call that answers once; watches have no deadline.
const deadline = 10 * time.Second

func main() {
	hub := flag.String("hub", "unix:///run/hubd/admin.sock", "unix:///PATH, or HOST:PORT with TLS")
	tokenFile := flag.String("token-file", "", "file with an admin token")
	caFile := flag.String("ca-file", "", "authorities to trust, PEM")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *hub, *tokenFile, *caFile, flag.Args()); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "error:", explain(err))
		os.Exit(1)
	}
}

func run(ctx context.Context, hub, tokenFile, caFile string, args []string) error {
	conn, err := connect(hub, tokenFile, caFile)
	if err != nil {
		return err
	}
	defer conn.Close()
	switch {
	case len(args) == 1 && args[0] == "list":
		return list(ctx, hubv1.NewSessionServiceClient(conn))
	case len(args) == 1 && args[0] == "watch":
		return watch(ctx, hubv1.NewSessionServiceClient(conn))
	case len(args) == 4 && args[0] == "push":
		return push(ctx, hubv1.NewAgentConfigServiceClient(conn), args[1], args[2], args[3])
	}
	return errors.New("give list, watch, or push AGENT SERVICE TARGET")
}

// connect opens a unix socket plainly and everything else with TLS, so that a token never crosses a network in the clear.
func connect(hub, tokenFile, caFile string) (*grpc.ClientConn, error) {
	if strings.HasPrefix(hub, "unix:") {
		return grpc.NewClient(hub, grpc.WithTransportCredentials(insecure.NewCredentials()))
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: no certificate in it", caFile)
		}
	}
	options := []grpc.DialOption{grpc.WithTransportCredentials(credentials.NewTLS(config))}
	if tokenFile != "" {
		secret, err := os.ReadFile(tokenFile)
		if err != nil {
			return nil, err
		}
		options = append(options, grpc.WithPerRPCCredentials(bearer(strings.TrimSpace(string(secret)))))
	}
	return grpc.NewClient(hub, options...)
}

// bearer is a token that goes with every call.
type bearer string

func (token bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(token)}, nil
}

func (bearer) RequireTransportSecurity() bool { return true }

// list prints all sessions, page by page.
func list(ctx context.Context, sessions hubv1.SessionServiceClient) error {
	for token := ""; ; {
		call, cancel := context.WithTimeout(ctx, deadline)
		page, err := sessions.ListSessions(call, &hubv1.ListSessionsRequest{PageToken: token})
		cancel()
		if err != nil {
			return err
		}
		for _, session := range page.Sessions {
			show("", session)
		}
		if token = page.NextPageToken; token == "" {
			return nil
		}
	}
}

// watch prints sessions and then every change, over broken connections and restarts of the hub.
func watch(ctx context.Context, sessions hubv1.SessionServiceClient) error {
	token, wait := "", 200*time.Millisecond
	for {
		next, worked, err := follow(ctx, sessions, token)
		token = next
		if worked {
			wait = 200 * time.Millisecond
		}
		switch status.Code(err) {
		case codes.OutOfRange:
			fmt.Println("reset: changes were missed, all sessions follow")
			token = ""
			continue
		case codes.Unavailable, codes.Canceled, codes.ResourceExhausted, codes.OK:
			fmt.Fprintln(os.Stderr, "watch interrupted, trying again")
		default:
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		// At random, so that not all watchers of a hub come back at the same moment.
		case <-time.After(wait/2 + rand.N(wait/2)):
			wait = min(2*wait, 15*time.Second)
		}
	}
}

// follow reads one stream and returns the token to go on from. A snapshot that was cut starts over, so the token counts
// only once the snapshot is complete.
func follow(ctx context.Context, sessions hubv1.SessionServiceClient, token string) (string, bool, error) {
	stream, err := sessions.WatchSessions(ctx, &hubv1.WatchSessionsRequest{ResumeToken: token})
	if err != nil {
		return token, false, err
	}
	complete, worked := token != "", false
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return token, worked, nil
		}
		if err != nil {
			return token, worked, err
		}
		worked = true
		switch change := message.Change.(type) {
		case *hubv1.WatchSessionsResponse_Upsert:
			show("upsert ", change.Upsert)
		case *hubv1.WatchSessionsResponse_Removed:
			show("removed ", change.Removed)
		case *hubv1.WatchSessionsResponse_Bookmark_:
			if change.Bookmark.Synced {
				complete = true
				fmt.Println("synced")
			}
		}
		if complete {
			token = message.ResumeToken
		}
	}
}

func show(what string, session *hubv1.Session) {
	state := strings.TrimPrefix(session.State.String(), "STATE_")
	fmt.Printf("%s%s %s %s %s\n", what, session.Name, session.Agent, state, session.Carrier)
}

// push gives an agent one service and waits until its sessions have answered.
func push(ctx context.Context, configs hubv1.AgentConfigServiceClient, agent, service, target string) error {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	agent = "agents/" + strings.TrimPrefix(agent, "agents/")
	stored, err := configs.UpdateAgentConfig(ctx, &hubv1.UpdateAgentConfigRequest{
		Agent:   agent,
		Config:  &agentv1.AgentConfig{Services: []*agentv1.Service{{Name: service, Target: target}}},
		Comment: "pushed by the Go example",
	})
	if err != nil {
		return err
	}
	version := stored.Config.Version
	fmt.Printf("stored version %d\n", version)
	for {
		answer, err := configs.GetAgentConfig(ctx, &hubv1.GetAgentConfigRequest{Agent: agent})
		if err != nil {
			return err
		}
		waiting := 0
		for _, session := range answer.Status {
			switch {
			case session.LastError != "":
				return fmt.Errorf("%s refused it: %s", session.Session, session.LastError)
			case session.AppliedVersion != version:
				waiting++
			}
		}
		if waiting == 0 {
			fmt.Printf("applied by %d sessions\n", len(answer.Status))
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// explain reads the details of the hub's errors.
func explain(err error) string {
	text := status.Convert(err).Message()
	for _, detail := range status.Convert(err).Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			text += " (" + detail.Reason + ")"
		case *errdetails.BadRequest:
			for _, fault := range detail.FieldViolations {
				text += "\n  " + fault.Field + ": " + fault.Description
			}
		}
	}
	return text
}
