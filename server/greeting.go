package server

import "fmt"

// Greeting is what whoever starts the house is told, once it is Ready.
func (s *Server) Greeting() []string {
	url := s.URL()
	lines := []string{
		fmt.Sprintf("Porchlight %s is ready at %s", Version(), url),
		fmt.Sprintf("Type this address into a Matrix client, or open it in a browser. Users are called @name:%s.", s.Setup.ServerName()),
	}
	lines = append(lines, s.networkAbout()...)
	if claim, ok := s.Setup.ClaimCode(); ok {
		lines = append(lines,
			"Nobody owns this house yet. To make the owner's account, open",
			"  "+url+"/#claim="+claim.Secret,
		)
		if claim.Code != "" {
			lines = append(lines, "or type the code "+claim.Code+" on the page.")
		}
	}
	lines = append(lines, s.servicesAbout...)
	return append(lines, s.BoardAbout()...)
}
