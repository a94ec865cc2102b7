#!/bin/sh
# Runs as root in a Debian of its own (cargo xtask deb --try): installs the package, runs a relay and two members of it under
# systemd, looks at what they may do, upgrades, and purges.
set -u
log=/root/trial.log
said() { echo "trial: $*" >>"$log"; }
failed() {
    said "FAILED: $*"
    { systemctl --no-pager status 'lanparty*'; journalctl --no-pager -n 60; } >>"$log" 2>&1
    exit 1
}
check() { "$@" >/tmp/check 2>&1 || { cat /tmp/check >>"$log"; failed "$*"; }; }
pid() { systemctl show -p MainPID --value "$1"; }
# A line of /proc/PID/status.
of_process() { sed -n "s/^$2:[[:space:]]*//p" "/proc/$(pid "$1")/status"; }
# Waits for a command to succeed.
until_true() { for _ in $(seq 100); do "$@" >/dev/null 2>&1 && return 0; sleep 0.1; done; failed "never: $*"; }

check dpkg --force-depends -i /root/lanparty.deb
for file in /usr/bin/lanparty /usr/share/man/man1/lanparty.1.gz /usr/share/bash-completion/completions/lanparty \
    /usr/share/doc/lanparty/service.md /usr/share/doc/lanparty/examples/lanparty.toml; do
    check test -s "$file"
done
check dpkg --verify lanparty
check lanparty config check /usr/share/doc/lanparty/examples/relay.toml
for unit in lanparty-relay.service lanparty@home.service; do
    check systemd-analyze verify --man=no "$unit"
done
said "installed: $(dpkg-query -W lanparty)"

# The far member has a network of its own, so that what they say to each other crosses the relay.
check ip link set lo up
check ip netns add far
check ip link add near0 type veth peer name far0 netns far
check ip address add 192.0.2.1/24 dev near0
check ip link set near0 up
check ip -n far address add 192.0.2.2/24 dev far0
check ip -n far link set far0 up
check ip -n far link set lo up
mkdir -p /etc/systemd/system/lanparty@far.service.d
printf '[Service]\nNetworkNamespacePath=/run/netns/far\n' >/etc/systemd/system/lanparty@far.service.d/network.conf
mkdir -p /etc/systemd/system/lanparty@near.service.d
printf '[Service]\nWatchdogSec=2\n' >/etc/systemd/system/lanparty@near.service.d/watchdog.conf

cp /usr/share/doc/lanparty/examples/relay.toml /etc/lanparty/relay.toml
chgrp lanparty /etc/lanparty/relay.toml
chmod 640 /etc/lanparty/relay.toml
for name in near far; do
    printf '[client]\nrelay = "192.0.2.1"\nserver-name = "lanparty-relay.local"\nrelay-ca-cert = "/var/lib/lanparty-relay/cert.der"\nroom = "DEN"\ntap-name = "%s"\nno-direct = true\n' "$name" >"/etc/lanparty/$name.toml"
done
check systemctl daemon-reload
check systemctl start lanparty-relay
check systemctl start lanparty@near lanparty@far
said "running: $(systemctl show -p StatusText --value lanparty-relay); $(systemctl show -p StatusText --value lanparty@near)"

address() { ip ${2:+-n "$2"} -4 -o address show dev "$1" | sed -n 's/.* inet \([0-9.]*\).*/\1/p'; }
until_true sh -c "ip -4 -o address show dev near | grep -q inet"
check ip netns exec far ping -c 2 -W 5 -w 15 -I far "$(address near)"
said "a frame from one instance to the other and back: $(sed -n 's/^rtt/rtt/p' /tmp/check)"

[ "$(stat -c %U "/proc/$(pid lanparty-relay)")" != root ] || failed "the relay runs as root"
[ "$(of_process lanparty-relay CapEff)" = 0000000000000000 ] || failed "the relay kept rights: $(of_process lanparty-relay CapEff)"
[ "$(of_process lanparty@near CapEff)" = 0000000000003000 ] || failed "a member kept rights: $(of_process lanparty@near CapEff)"
[ "$(of_process lanparty@near CapPrm)" = 0000000000003000 ] || failed "a member may take rights: $(of_process lanparty@near CapPrm)"
for unit in lanparty-relay lanparty@near; do
    [ "$(of_process "$unit" NoNewPrivs)" = 1 ] || failed "$unit may take new privileges"
    said "$(systemd-analyze --no-pager security "$unit" | tail -n 1)"
done
check sh -c "journalctl -u lanparty@near -o json | grep -q '\"LANPARTY_ROOM\":\"DEN\"'"
said "the journal has its fields"

programs() { "$@" lanparty status --json | grep -c '"program"'; }
[ "$(programs)" = 3 ] || failed "root sees $(programs) programs: $(lanparty status --json)"
useradd --system --groups lanparty looker
[ "$(programs runuser -u looker --)" = 3 ] || failed "one of the group sees: $(runuser -u looker -- lanparty status)"
[ "$(programs runuser -u nobody --)" = 0 ] || failed "anybody sees: $(runuser -u nobody -- lanparty status)"
said "root and the group may look, nobody else"

before=$(pid lanparty@near)
kill -STOP "$before"
restarted() { [ "$(pid lanparty@near)" != "$before" ] && systemctl is-active lanparty@near; }
until_true restarted
said "a program that hangs is started again"

relay=$(pid lanparty-relay) far=$(pid lanparty@far) lease=$(address far far)
check dpkg --force-depends -i /root/lanparty-next.deb
[ "$(pid lanparty-relay)" != "$relay" ] && [ "$(pid lanparty@far)" != "$far" ] || failed "an upgrade leaves the old programs running"
check systemctl is-active lanparty-relay lanparty@near lanparty@far
until_true sh -c "ip -n far -4 -o address show dev far | grep -q inet"
[ "$(address far far)" = "$lease" ] || failed "another address after the upgrade: $(address far far) instead of $lease"
said "upgraded: $(dpkg-query -W lanparty); the same address $lease"

check dpkg --purge lanparty
for path in /usr/bin/lanparty /usr/lib/systemd/system/lanparty@.service /var/lib/lanparty /var/lib/lanparty-relay; do
    [ ! -e "$path" ] || failed "$path is left behind"
done
pgrep -l lanparty && failed "a program is left behind"
[ -e /etc/lanparty/near.toml ] || failed "what the administrator wrote is gone"
ip link show near >/dev/null 2>&1 && failed "an interface is left behind"
said "purged"
said "everything as it should be"
