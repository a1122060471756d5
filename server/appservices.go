package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
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

// addService registers a service; was is whether it is registered just so already.
func (s *Server) addService(ctx context.Context, raw []byte) (id string, was bool, err error) {
	reg, err := appservice.Parse(raw)
	if err != nil {
		return reg.ID, false, err
	}
	if sender := matrix.NewUserID(reg.SenderLocalpart, s.Setup.ServerName()); sender == s.BoardUser() {
		return reg.ID, false, matrix.UserInUse()
	}
	if known := s.Services.Service(reg.ID); known != nil && reflect.DeepEqual(known.Registration, reg) {
		return reg.ID, true, nil
	}
	return reg.ID, false, s.DB.Update(ctx, func(tx *kv.WriteTx) error { return s.Services.Add(tx, reg) })
}

// readServices registers the services of a folder, in the order of the files' names. A file
// that cannot be used is told of and keeps nothing else from starting; services whose file is
// gone stay registered.
func (s *Server) readServices(ctx context.Context) error {
	folder := s.Config.Appservices
	if folder == "" || s.Config.dataOnly {
		return nil
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		s.serviceTrouble("the folder of registrations cannot be read", folder, err)
		return nil
	}
	for _, entry := range entries {
		path := filepath.Join(folder, entry.Name())
		if ext := filepath.Ext(path); entry.IsDir() || ext != ".yaml" && ext != ".yml" {
			continue
		}
		raw, err := readRegistration(path)
		if err != nil {
			s.serviceTrouble("a registration cannot be read", path, err)
			continue
		}
		id, was, err := s.addService(ctx, raw)
		var refused *matrix.Error
		switch {
		case errors.As(err, &refused):
			s.serviceTrouble("a registration cannot be used", path, err)
		case err != nil:
			return err // the database, not the file
		case !was:
			s.Config.Log.Info("application service registered", "service", id, "file", path)
		}
	}
	return nil
}

// serviceTrouble tells the log and whoever starts the house.
func (s *Server) serviceTrouble(what, path string, err error) {
	s.Config.Log.Error(what, "file", path, "error", err)
	s.servicesAbout = append(s.servicesAbout, fmt.Sprintf("Bridges: %s: %s: %v", path, what, err))
}

// readRegistration reads a file, but not much more of it than a registration may have.
func readRegistration(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, errors.New("it is no file"))
	}
	return io.ReadAll(io.LimitReader(file, appservice.MaxRegistrationBytes+1))
}

func (s *Server) orderServiceAdd(ctx context.Context, o Order) ([]string, error) {
	id, was, err := s.addService(ctx, []byte(o.Registration))
	switch {
	case err != nil:
		return nil, err
	case was:
		return []string{id + " is registered just so already"}, nil
	}
	return []string{"registered " + id}, nil
}

func (s *Server) orderServiceList(ctx context.Context, _ Order) (lines []string, err error) {
	err = s.DB.View(ctx, func(tx *kv.ReadTx) error {
		for _, service := range s.Services.Services() {
			line := fmt.Sprintf("%s  %s, ", service.ID, service.Sender)
			state := s.Services.State(tx, service.ID)
			switch {
			case service.URL == "":
				line += "no URL"
			case state.Err != nil:
				line += fmt.Sprintf("%s, %d changes behind, %d failures in a row: %v", service.URL, state.Behind, state.Failures, state.Err)
			default:
				line += fmt.Sprintf("%s, %d changes behind", service.URL, state.Behind)
			}
			lines = append(lines, line)
		}
		return nil
	})
	return lines, err
}

func (s *Server) orderServiceRemove(ctx context.Context, o Order) ([]string, error) {
	if err := s.DB.Update(ctx, func(tx *kv.WriteTx) error { return s.Services.Remove(tx, o.Service) }); err != nil {
		return nil, err
	}
	return []string{"removed " + o.Service}, nil
}
