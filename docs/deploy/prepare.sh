#!/bin/sh
# Prepares a folder for compose.yaml: the secrets, each in a file of its own that nobody else can read, the folders with
# data, and .env. What is there already stays as it is.
#
#   docs/deploy/prepare.sh             one server keeps the log
#   docs/deploy/prepare.sh cluster     three do
#
# FLOWS_SITE: the name that clients know the engine by (localhost), for a certificate of its own. Put another one into
# secrets/tls-certificate and secrets/tls-key, with all certificates up to its authority's.
set -eu
umask 077
site=${FLOWS_SITE:-localhost}
mode=${1:-single}
case $mode in single | cluster) ;; *) echo "usage: $0 [single|cluster]" >&2; exit 2 ;; esac

random() { head -c 24 /dev/urandom | base64 | tr '+/' '-_'; }

certificate() { # FILE KEY NAMES
    [ -e "$1" ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 825 \
        -subj "/CN=flows" -addext "subjectAltName=$3" -keyout "$2" -out "$1" 2> /dev/null
}

# The public key of an issuer, as NATS writes it: what it is, the key and a CRC-16, in base32. Its seed is 32 bytes.
public_key() { # SEED, in URL-safe base64
    bytes="00 $({ printf '\060\056\002\001\000\060\005\006\003\053\145\160\004\042\004\040'
        printf '%s=' "${1%=}" | tr -- '-_' '+/' | base64 -d; } |
        openssl pkey -inform DER -pubout -outform DER | tail -c 32 | od -An -v -tx1)"
    crc=0
    for byte in $bytes; do
        crc=$((crc ^ (0x$byte << 8)))
        for _ in 1 2 3 4 5 6 7 8; do
            crc=$((crc & 0x8000 ? (crc << 1 ^ 0x1021) & 0xffff : crc << 1))
        done
    done
    for byte in $bytes $(printf '%02x %02x' $((crc & 0xff)) $((crc >> 8))); do
        printf "\\$(printf '%03o' "0x$byte")"
    done | base32 | tr -d '=\n'
}

mkdir -p secrets/credentials data/nats data/nats-2 data/nats-3 data/database data/worker disks repository
for name in admin-token database-admin database-owner database-recorder database-api; do
    [ -e "secrets/$name" ] || random > "secrets/$name"
done
# by whose word the servers let enrolled workers in
[ -e secrets/credentials/issuer ] || head -c 32 /dev/urandom | base64 | tr '+/' '-_' > secrets/credentials/issuer
# the users of NATS: what each shows, and what the server knows of all
for user in $(sed -n 's/^ *user: *//p' "$(dirname "$0")/../../nats.conf"); do
    [ -e "secrets/credentials/$user" ] || random > "secrets/credentials/$user"
    echo "PASSWORD_$(echo "$user" | tr '[:lower:]' '[:upper:]'): \"$(cat "secrets/credentials/$user")\""
done > secrets/nats-passwords
echo "ISSUER: \"$(public_key "$(cat secrets/credentials/issuer)")\"" >> secrets/nats-passwords
if [ ! -e secrets/nats-routes ]; then
    password=$(random)
    {
        echo "authorization { user: route, password: \"$password\" }"
        echo "routes: ["
        for server in nats nats-2 nats-3; do echo "  \"nats://route:$password@$server:6222\""; done
        echo "]"
    } > secrets/nats-routes
fi
certificate secrets/nats-certificate secrets/nats-key "DNS:nats,DNS:nats-2,DNS:nats-3,DNS:localhost,IP:127.0.0.1"
certificate secrets/tls-certificate secrets/tls-key "DNS:$site"
if [ ! -e .env ]; then
    {
        echo "FLOWS_USER=$(id -u):$(id -g)"
        echo "FLOWS_SITE=$site"
        if [ "$mode" = cluster ]; then
            echo "COMPOSE_PROFILES=cluster"
            echo "FLOWS_NATS_CONFIG=nats-cluster.conf"
            echo "FLOWS_NATS_URL=nats://nats:4222,nats://nats-2:4222,nats://nats-3:4222"
            echo "FLOWS_REPLICAS=3"
        fi
    } > .env
fi
if [ "$(id -u)" = 0 ]; then
    echo "FLOWS_USER in .env is root: name another user there, and give it secrets/ and data/ (chown)" >&2
fi
