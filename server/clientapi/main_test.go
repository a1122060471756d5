package clientapi_test

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"porchlight/server/clientapi"
	"porchlight/server/servertest"
)

// TestMain prints how many operations the tests have seen answering, and how.
func TestMain(m *testing.M) {
	code := m.Run()
	for _, partial := range []string{"test.run", "test.fuzz", "test.bench", "test.list"} {
		if flag.Lookup(partial).Value.String() != "" {
			os.Exit(code) // the count would tell nothing
		}
	}
	var operations []string
	for _, r := range clientapi.New(clientapi.Config{}).Routes() {
		operations = append(operations, r.Op)
	}
	fmt.Println("Cases written by hand:")
	err := servertest.Tally(os.Stdout, operations, "TestBadInput", "FuzzRequest")
	if err == nil {
		fmt.Println("With the bad input that is made up for every operation:")
		err = servertest.Tally(os.Stdout, operations)
	}
	if err != nil {
		fmt.Println(err)
		code = 1
	}
	os.Exit(code)
}
