# shellcheck shell=bash
# Sourced by scripts whose processes must all end with them: a native cluster, a Docker engine. Their cgroups have the name
# $CGROUP.

# has_memory: Test whether memory has room for unpacked images. An ext4 without a journal checks every inode freed in the last
# minute before it takes one, and running images leaves tens of thousands.
has_memory() { [ "$(awk '/^MemAvailable/ { print int($2 / 1048576) }' /proc/meminfo)" -ge 12 ]; }

# close_files: Close all files but the standard ones. A background process must hold neither our locks nor a reader's pipe.
close_files() {
  local file
  for file in "/proc/$BASHPID/fd/"*; do
    file=${file##*/}
    (( file <= 2 )) || exec {file}>&-
  done
}

# wait_for SECONDS WHAT PID LOG COMMAND...: Wait until COMMAND succeeds; fail if the process PID ends or the time is over
wait_for() {
  local deadline=$((SECONDS + $1)) what=$2 pid=$3 log=$4
  shift 4
  until "$@"; do
    if ! kill -0 "$pid" 2>/dev/null || (( SECONDS >= deadline )); then
      echo "waited for $what; the logs are in ${log%/*}"
      tail -n 15 "$log"
      return 1
    fi
    sleep 0.1
  done
}

# cgroup_roots: Print each folder where the cgroup must exist: one on cgroup v2, every hierarchy on v1
cgroup_roots() {
  local folder
  if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
    echo /sys/fs/cgroup
    return
  fi
  for folder in /sys/fs/cgroup/*/; do
    [ -L "${folder%/}" ] || [ "$folder" = /sys/fs/cgroup/unified/ ] || echo "${folder%/}"
  done
}

# processes_cgroup: Print the cgroup in which every process starts; containers have theirs beside it
processes_cgroup() {
  if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
    echo "/sys/fs/cgroup/$CGROUP/processes"
  else
    echo "/sys/fs/cgroup/pids/$CGROUP/processes"
  fi
}

# join_cgroups PID: Move a process, with its future children, into the cgroups. On v1 CPU shares are a separate hierarchy.
join_cgroups() {
  local folder=/sys/fs/cgroup/cpu/$CGROUP/processes
  echo "$1" > "$(processes_cgroup)/cgroup.procs"
  [ -d "${folder%/*}" ] || return 0
  mkdir -p "$folder"
  echo 3072 > "$folder/cpu.shares"
  echo "$1" > "$folder/cgroup.procs"
}

# make_cgroups: Create the cgroups. Kubelets that share a cgroup root end each other's pods, so each has its own.
make_cgroups() {
  local root file controller
  for root in $(cgroup_roots); do
    mkdir -p "$root/$CGROUP"
    for file in cpuset.cpus cpuset.mems; do       # empty ones on v1, which allow no process
      [ ! -f "$root/$CGROUP/$file" ] || [ -f "$root/cgroup.controllers" ] || cat "$root/$file" > "$root/$CGROUP/$file"
    done
    # The same share of a busy machine as two test processes: one would starve the Pods, and more of them the tests.
    [ ! -f "$root/$CGROUP/cpu.shares" ] || echo 2048 > "$root/$CGROUP/cpu.shares"
    [ -f "$root/cgroup.controllers" ] || continue
    for controller in cpuset cpu io memory hugetlb pids; do
      echo "+$controller" > "$root/cgroup.subtree_control" || true
      echo "+$controller" > "$root/$CGROUP/cgroup.subtree_control" || true
    done
    echo 200 > "$root/$CGROUP/cpu.weight" || true
  done
  mkdir -p "$(processes_cgroup)"
}

# has_cgroup PID: Test whether this process is one of them. Its id alone could belong to another process by now.
has_cgroup() { grep -qsx "$1" "$(processes_cgroup)/cgroup.procs"; }

# end_cgroups: End the processes that start others, then the remains of their containers, and remove the cgroups
end_cgroups() {
  local root
  end_cgroup "$(processes_cgroup)"
  # runc also uses a v2 hierarchy that is mounted beside those of v1.
  for root in $(cgroup_roots) /sys/fs/cgroup/unified; do
    end_cgroup "$root/$CGROUP"
    [ ! -d "$root/$CGROUP" ] || find "$root/$CGROUP" -depth -type d -exec rmdir {} +
  done
}

# end_cgroup FOLDER: Kill all processes that the kernel has recorded there, until none is left
end_cgroup() {
  local deadline=$((SECONDS + 30)) pids
  [ -d "$1" ] || return 0
  while pids=$(find "$1" -name cgroup.procs -exec cat {} + 2>/dev/null) && [ -n "$pids" ]; do
    # shellcheck disable=SC2086 # a list of ids
    kill -KILL $pids 2>/dev/null || true
    (( SECONDS < deadline )) || { echo "these processes of $CGROUP do not end: $pids" >&2; return 1; }
    sleep 0.1
  done
}
