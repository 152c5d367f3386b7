// Command kstatus prints what Helm 4 and Flux take an object for, as JSON: an object a line of its input, a status a line of
// its output.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// answer has the status, such as Current or Failed, and its reason.
type answer struct{ Status, Message string }

func main() {
	objects, answers := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var raw json.RawMessage
		if err := objects.Decode(&raw); err == io.EOF {
			return
		} else if err != nil {
			fail(err)
		}
		// The object's own decoder makes integers of generations, where kstatus looks for them.
		var object unstructured.Unstructured
		if err := object.UnmarshalJSON(raw); err != nil {
			fail(err)
		}
		result, err := status.Compute(&object)
		if err != nil {
			fail(err)
		}
		if err := answers.Encode(answer{result.Status.String(), result.Message}); err != nil {
			fail(err)
		}
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
