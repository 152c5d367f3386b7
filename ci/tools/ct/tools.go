//go:build tools

// Package tools names the programs that ci/tools/build.sh builds from this module.
package tools

import (
	_ "github.com/helm/chart-testing/v3/ct"
)
