#!/usr/bin/env bash
# The first process of a native cluster's namespaces, started by cluster.sh: network, control plane (etcd,
# kube-apiserver, controller manager, scheduler), then a real node (containerd, kubelet, kube-proxy) and DNS.
# When a part of the node ends, this process ends, and everything with it.
set -euo pipefail
# shellcheck source=../processes.sh
. "$(dirname "${BASH_SOURCE[0]}")/../processes.sh"
NAME=$1 CACHE=$2 CGROUP=$3
NODE=/run/node LOGS=/run/node/logs          # the cluster's folder, as seen from here
SERVICES=10.96.0.0/16 PODS=10.244.0.0/16
export KUBECONFIG=/run/kubeconfig
export GOGC=400                             # memory is plentiful, and the tests wait for the cores
PKI=/run/pki

# 1. File system. The programs write below /run, /var and the cluster's folder; the host's /run and /var stay unchanged.
#    etcd's data is in memory with the rest of /run: it need not outlive the node, and no request waits for a disk.
read -r host_pid _ < /proc/self/stat        # the id on the host, as long as /proc is the host's
cd "$CACHE"                                 # an open folder can be bound even if /run or /var hides its path
mount -t tmpfs tmpfs /run
mkdir -p /run/cache /run/node /run/netns /run/lock
mount --no-canonicalize --bind . /run/cache
mount --bind "/run/cache/clusters/$NAME" /run/node
cd /
mount -t tmpfs tmpfs /var && mkdir -p /var/lib /var/log /var/tmp && ln -s /run /var/run
mount -t proc proc /proc
mount --make-rshared /                      # kubelet's mounts propagate into containerd's
PATH=$(cat "$NODE/path")
echo "$host_pid" > "$NODE/init.pid.new" && mv "$NODE/init.pid.new" "$NODE/init.pid"

# 2. Network. The link to the host appears when `connect` makes it. kube-apiserver needs a default route, and service
#    addresses are routed before they are rewritten. Nothing may leave, so the route ends in a veth pair that goes nowhere
#    (not every kernel has dummy devices), and the node answers the host but never calls it.
until [ -f "$NODE/connected" ]; do sleep 0.05; done
ADDRESS=$(cat "$NODE/node-address")
ip addr add "$ADDRESS/30" dev eth0
ip link set eth0 up
ip link set lo up
ip link add nowhere0 type veth peer name nowhere1
ip addr add 198.19.255.253/30 dev nowhere0
ip link set nowhere0 up
ip link set nowhere1 up
ip route add default via 198.19.255.254 dev nowhere0
modprobe -q br_netfilter || true            # built in, or already loaded
sysctl -qw net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1
for chain in OUTPUT FORWARD; do
  iptables -A "$chain" -o eth0 -m conntrack --ctstate NEW -j REJECT
done
ulimit -n "$(ulimit -Hn)"

# run PROGRAM ARGUMENT...: Start a program in the background, with its log and its id in files of its name
run() {
  "$@" >> "$LOGS/$1.log" 2>&1 < /dev/null &
  echo "$!" > "/run/pids/$1"
}
mkdir /run/pids

# 3. containerd. It loads its images while the control plane starts.
if has_memory; then
  mkdir -p "$NODE/containerd"
  mount -t tmpfs tmpfs "$NODE/containerd"
fi
cat > /run/containerd.toml <<TOML
version = 3
root = "$NODE/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "$NODE/containerd/opt"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "$(cat "$NODE/pause-image")"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true             # where the machine withholds CAP_SYS_RESOURCE, lower scores are refused
[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["/usr/lib/cni"]
  conf_dir = "/run/cni"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
TOML
mkdir -p /run/cni
cat > /run/cni/10-bridge.conflist <<CNI
{
  "cniVersion": "1.0.0",
  "name": "pods",
  "plugins": [
    {
      "type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
      "ipam": {"type": "host-local", "dataDir": "/run/cni/addresses", "ranges": [[{"subnet": "$PODS"}]], "routes": [{"dst": "0.0.0.0/0"}]}
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
CNI
run containerd --config /run/containerd.toml
load_images() {
  local image
  until ctr version >/dev/null 2>&1; do sleep 0.1; done
  for image in $(cat "$NODE/pause-image") $(sed -n 's/^ *image: //p' "$NODE/coredns.yaml"); do
    image=${image#localhost/}
    ctr --namespace k8s.io images import --local "/run/cache/images/${image//[:\/]/-}.tar"
  done
}
load_images &
images=$!

# 4. Control plane. The certificate `admin` may do everything, and its own parts use it, since the cluster is for tests. The
#    API server's names its service (clients in pods) and the link (clients on the host).
mkdir "$PKI"
cat > "$PKI/openssl.cnf" <<CNF
[req]
distinguished_name = name
[name]
[ca]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, digitalSignature
[server]
extendedKeyUsage = serverAuth
subjectAltName = IP:10.96.0.1, IP:$ADDRESS, IP:127.0.0.1, DNS:localhost, DNS:kubernetes, DNS:kubernetes.default, DNS:kubernetes.default.svc, DNS:kubernetes.default.svc.cluster.local
[admin]
extendedKeyUsage = clientAuth
CNF
# certificate NAME SUBJECT [OPTION...]: Write a key and its certificate, self-signed or signed by --CA
certificate() {
  openssl req -x509 -config "$PKI/openssl.cnf" -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -days 3650 \
    -keyout "$PKI/$1.key" -out "$PKI/$1.crt" -extensions "$1" -subj "$2" "${@:3}" 2>/dev/null
}
certificate ca /CN=kubernetes
certificate server /CN=kube-apiserver -CA "$PKI/ca.crt" -CAkey "$PKI/ca.key"
certificate admin /O=system:masters/CN=admin -CA "$PKI/ca.crt" -CAkey "$PKI/ca.key"
openssl ecparam -genkey -name prime256v1 -noout -out "$PKI/accounts.key"
(umask 077 && cat > "$KUBECONFIG") <<CONFIG
apiVersion: v1
kind: Config
clusters:
- name: $NAME
  cluster:
    server: https://$ADDRESS:6443
    certificate-authority-data: $(base64 -w 0 "$PKI/ca.crt")
users:
- name: admin
  user:
    client-certificate-data: $(base64 -w 0 "$PKI/admin.crt")
    client-key-data: $(base64 -w 0 "$PKI/admin.key")
contexts:
- name: $NAME
  context: {cluster: $NAME, user: admin}
current-context: $NAME
CONFIG

run etcd --data-dir /run/etcd --unsafe-no-fsync --quota-backend-bytes 8589934592 --log-level warn
# No priority and fairness, no limits: they would distort measurements.
run kube-apiserver --etcd-servers http://127.0.0.1:2379 --secure-port 6443 --advertise-address "$ADDRESS" \
  --service-cluster-ip-range "$SERVICES" --authorization-mode Node,RBAC --allow-privileged \
  --tls-cert-file "$PKI/server.crt" --tls-private-key-file "$PKI/server.key" --client-ca-file "$PKI/ca.crt" \
  --service-account-issuer https://kubernetes.default.svc.cluster.local \
  --service-account-key-file "$PKI/accounts.key" --service-account-signing-key-file "$PKI/accounts.key" \
  --kubelet-client-certificate "$PKI/admin.crt" --kubelet-client-key "$PKI/admin.key" --kubelet-preferred-address-types InternalIP \
  --enable-priority-and-fairness=false --max-requests-inflight 0 --max-mutating-requests-inflight 0
# A single replica of each, without leader election.
alone=(--kubeconfig "$KUBECONFIG" --bind-address 127.0.0.1 --leader-elect=false --kube-api-qps 5000 --kube-api-burst 10000)
# A busy machine's nodes send late heartbeats; kwok would never set Pods Ready again after the controller has marked them.
run kube-controller-manager "${alone[@]}" --root-ca-file "$PKI/ca.crt" \
  --service-account-private-key-file "$PKI/accounts.key" --flex-volume-plugin-dir /run/volume-plugins \
  --node-monitor-grace-period 1h
run kube-scheduler "${alone[@]}"
ready() { kubectl get --raw /readyz >/dev/null 2>&1; }
for ((tries = 0; tries < 450; tries++)); do ready && break; sleep 0.2; done
ready || { echo "the API server is not ready after 90 seconds: see its log in this folder"; exit 1; }
cp "$KUBECONFIG" "$NODE/kubeconfig.new" && mv "$NODE/kubeconfig.new" "$NODE/kubeconfig"

# 5. The real node. It collects and evicts nothing if a laptop's disk is nearly full. Pods start as fast as the machine can:
#    without the limits of a kubelet that shares an API server with a thousand others.
cat > /run/kubelet.yaml <<KUBELET
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: $PKI/ca.crt}
authorization: {mode: Webhook}
clusterDomain: cluster.local
clusterDNS: [10.96.0.10]
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /$CGROUP
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
evictionHard: {memory.available: "0%", nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%", imagefs.inodesFree: "0%"}
imageGCHighThresholdPercent: 100
maxPods: 250
serializeImagePulls: false
kubeAPIQPS: 1000
kubeAPIBurst: 2000
eventRecordQPS: 0
registryPullQPS: 0
resolvConf: /dev/null
podLogsDir: $LOGS/pods
volumePluginDir: /run/volume-plugins
KUBELET
wait "$images"
run kubelet --config /run/kubelet.yaml --kubeconfig "$KUBECONFIG" --hostname-override node-1 --node-ip "$ADDRESS" \
  --root-dir "$NODE/kubelet"
run kube-proxy --kubeconfig "$KUBECONFIG" --hostname-override node-1 --cluster-cidr "$PODS" --proxy-mode iptables \
  --iptables-min-sync-period 100ms --conntrack-max-per-core 0 --conntrack-tcp-timeout-established 0s \
  --conntrack-tcp-timeout-close-wait 0s

# 6. DNS, and the wait
kubectl apply -f "$NODE/coredns.yaml"
until kubectl get node node-1 >/dev/null 2>&1; do sleep 0.2; done
kubectl wait --for condition=Ready node/node-1 --timeout 90s
touch "$NODE/ready"
# Not for the control plane, since `cluster restart` restarts the API server.
wait -n "$(cat /run/pids/containerd)" "$(cat /run/pids/kubelet)" "$(cat /run/pids/kube-proxy)" || true
echo "containerd, kubelet or kube-proxy ended: see their logs in this folder"
