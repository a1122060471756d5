package server

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"porchlight/kv"
	"porchlight/server/appservice"
	"porchlight/server/matrix"
)

const (
	// serviceConnect is how long connecting to an application service may take, TLS included.
	serviceConnect = 5 * time.Second
	// maxServiceHead is the largest head of a service's answer in bytes.
	maxServiceHead = 32 << 10
)

// serviceClient reaches application services. The owner has named them, so they may be
// anywhere; where they redirect to is not followed.
func serviceClient() *http.Client {
	dialer := net.Dialer{Timeout: serviceConnect}
	return &http.Client{
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSHandshakeTimeout: serviceConnect, IdleConnTimeout: gatewayIdle,
			MaxIdleConnsPerHost: 2, MaxResponseHeaderBytes: maxServiceHead, ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (s *Server) orderServiceAdd(ctx context.Context, o Order) ([]string, error) {
	reg, err := appservice.Parse([]byte(o.Registration))
	if err != nil {
		return nil, err
	}
	if sender := matrix.NewUserID(reg.SenderLocalpart, s.Setup.ServerName()); sender == s.BoardUser() {
		return nil, matrix.UserInUse()
	}
	if err := s.DB.Update(ctx, func(tx *kv.WriteTx) error { return s.Services.Add(tx, reg) }); err != nil {
		return nil, err
	}
	return []string{"registered " + reg.ID}, nil
}

func (s *Server) orderServiceList(context.Context, Order) (lines []string, err error) {
	for _, service := range s.Services.Services() {
		address := service.URL
		if address == "" {
			address = "no URL"
		}
		lines = append(lines, fmt.Sprintf("%s  %s, %s", service.ID, service.Sender, address))
	}
	return lines, nil
}

func (s *Server) orderServiceRemove(ctx context.Context, o Order) ([]string, error) {
	if err := s.DB.Update(ctx, func(tx *kv.WriteTx) error { return s.Services.Remove(tx, o.Service) }); err != nil {
		return nil, err
	}
	return []string{"removed " + o.Service}, nil
}
