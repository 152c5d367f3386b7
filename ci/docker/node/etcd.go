// Command etcd starts the etcd beside it without the flags that it no longer knows: those of a kubeadm that is older.
package main

import (
	"os"
	"strings"
	"syscall"
)

func main() {
	arguments := []string{"etcd"}
	for _, argument := range os.Args[1:] {
		if !strings.HasPrefix(argument, "--experimental-") {
			arguments = append(arguments, argument)
		}
	}
	panic(syscall.Exec("/usr/local/lib/etcd", arguments, os.Environ()))
}
