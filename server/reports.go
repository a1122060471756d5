package server

import (
	"context"
	"fmt"
	"strings"
	"time"

	"porchlight/kv"
	"porchlight/server/reports"
)

// reportNotice is the server_notice_type of a report.
const reportNotice = "porchlight.report"

// Reported implements reports.Witness: the owner of the house hears of it.
func (s *Server) Reported(tx *kv.WriteTx, number uint64, r reports.Report) error {
	owner := s.Setup.Owner(tx)
	if owner == "" {
		return nil // the list has it
	}
	_, err := s.Notices.Send(tx, owner, reportNotice, reportLine(number, r))
	return err
}

// reportLine is a report in one line for a person. What users wrote is quoted, so that it
// cannot look like another line.
func reportLine(number uint64, r reports.Report) string {
	var b strings.Builder
	fmt.Fprintf(&b, "report %d, %s: %s reports ", number, time.UnixMilli(r.TS).UTC().Format(time.RFC3339), r.By)
	switch {
	case r.Event != "":
		fmt.Fprintf(&b, "the %q event %s by %s in %s", r.Type, r.Event, r.About, r.Room)
	case r.Room != "":
		fmt.Fprintf(&b, "the room %s", r.Room)
	default:
		fmt.Fprintf(&b, "the user %s", r.About)
	}
	if r.Reason != "" {
		fmt.Fprintf(&b, ", because %q", r.Reason)
	}
	return b.String()
}

func (s *Server) orderReportList(ctx context.Context, _ Order) (lines []string, err error) {
	err = s.DB.View(ctx, func(tx *kv.ReadTx) error {
		for number, r := range s.Reports.All(tx) {
			lines = append(lines, reportLine(number, r))
			if len(r.Content) > 0 {
				lines = append(lines, "    "+string(r.Content))
			}
		}
		return nil
	})
	return lines, err
}

func (s *Server) orderReportRemove(ctx context.Context, o Order) ([]string, error) {
	err := s.DB.Update(ctx, func(tx *kv.WriteTx) error { return s.Reports.Remove(tx, o.Report) })
	if err != nil {
		return nil, err
	}
	return []string{fmt.Sprintf("removed report %d", o.Report)}, nil
}
