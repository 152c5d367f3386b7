// Command helm-templates renders charts as `helm template` does, one for each line of its input, without starting Helm for
// each: that takes more time than rendering.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/strvals"
)

// request has the arguments of `helm template`. Values is the text of a file, and Settings are those of --set-json.
type request struct {
	Chart, Release, Namespace, KubeVersion, Values string
	Settings                                       []string
	IncludeCRDs                                    bool
}

// answer has the output of `helm template`, or its error.
type answer struct{ Output, Error string }

func main() {
	requests, answers := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var asked request
		if err := requests.Decode(&asked); err == io.EOF {
			return
		} else if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		var told answer
		output, err := render(asked)
		if err != nil {
			told.Error = "Error: " + err.Error()
		}
		told.Output = output
		if err := answers.Encode(told); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

func render(asked request) (string, error) {
	values, err := chartutil.ReadValues([]byte(asked.Values))
	if err != nil {
		return "", err
	}
	for _, setting := range asked.Settings {
		if err := strvals.ParseJSON(setting, values); err != nil {
			return "", err
		}
	}
	version, err := chartutil.ParseKubeVersion(asked.KubeVersion)
	if err != nil {
		return "", err
	}
	chart, err := loader.Load(asked.Chart)
	if err != nil {
		return "", err
	}
	client := action.NewInstall(&action.Configuration{Log: func(string, ...interface{}) {}})
	client.ReleaseName, client.Namespace, client.KubeVersion = asked.Release, asked.Namespace, version
	client.DryRun, client.ClientOnly, client.Replace, client.IncludeCRDs = true, true, true, asked.IncludeCRDs
	release, err := client.Run(chart, values)
	if err != nil {
		return "", err
	}
	var output strings.Builder
	fmt.Fprintln(&output, strings.TrimSpace(release.Manifest))
	for _, hook := range release.Hooks {
		fmt.Fprintf(&output, "---\n# Source: %s\n%s\n", hook.Path, hook.Manifest)
	}
	return output.String(), nil
}
