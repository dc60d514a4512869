#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Password dialogs of four users are not answered, with the real polkit and its agents. Meanwhile, the request of a fifth user,
# which a polkit rule permits, succeeds.
# only: long
# limit: 1800
# memory: 3072
# shellcheck disable=SC2016,SC2317
set -u
# shellcheck source=tests/guest/tap.bash
. ./tap.bash

on_failure() {
        tail -n 3 "$dir"/* | head -n 40 | sed 's/^/# /'
        busctl get-property org.mshare1 /org/mshare1 org.mshare1.Manager NPolkitWaiting | sed 's/^/# waiting: /'
}

needs_mshare
dir=$(mktemp -d)
users='1000 games man lp' each=16
as() { (cd / && setpriv --reuid="$1" --regid="$(id -g "$1")" --clear-groups "${@:2}"); }
property() { busctl get-property org.mshare1 /org/mshare1 org.mshare1.Manager "$1" | cut -d ' ' -f 2; }
# become N COMMAND...: the command's output becomes N. An emulated CPU needs a second or two to start one of the agents, so how
# long this takes says nothing.
become() {
        for _ in $(seq 60); do
                [ "$("${@:2}")" != "$1" ] || return 0
                sleep 1
        done
        echo "instead of $1: $("${@:2}")"
        return 1
}
prompts() { grep -l Password "$dir"/* | wc -l; }
# quick SECONDS COMMAND...: the command succeeds in this time.
quick() {
        local begin=$SECONDS
        "${@:2}" || return
        echo "$((SECONDS - begin)) s"
        [ $((SECONDS - begin)) -le "$1" ]
}

mkdir -p /etc/polkit-1/rules.d
cat > /etc/polkit-1/rules.d/10-mail.rules << 'END_OF_RULE'
polkit.addRule(function(action, subject) {
        if (action.id == "org.mshare1.create-region" && subject.user == "mail") return polkit.Result.YES;
});
END_OF_RULE
systemctl restart polkit
systemctl enable --now mshared 2> /dev/null
check 'a user whom a rule permits it creates a region' as mail msharectl create first 1M --no-ask-password
before=$(property PolkitGranted)

# Each agent must have registered itself in 30 s, so only a few start at once.
n=0
for user in $users; do
        for i in $(seq $each); do
                as "$user" script -qfc "msharectl create dialog-$user-$i 1M" /dev/null < <(sleep 1700) > "$dir/$user-$i" 2>&1 &
                n=$((n + 1))
                [ $((n % 4)) -ne 0 ] || become $n property NPolkitWaiting || break 2
        done
        check "$n calls wait" is $n property NPolkitWaiting
done
check 'polkit asks for passwords in four calls of each user' become 16 prompts
check 'the same user creates another' quick 20 as mail msharectl create second 1M --no-ask-password
check 'because polkit has permitted it' is $((before + 1)) property PolkitGranted
check 'all users can list regions' quick 20 as games msharectl list
check 'the dialogs go on' is $n property NPolkitWaiting
check 'each with its agent' is $n pgrep -c pkttyagent
pkill pkttyagent
jobs -p | xargs -r kill
check 'dialogs that end leave no region' is 'first second' bash -c 'msharectl list --no-legend | awk "{ print \$1 }" | sort | paste -sd " "'
echo "1..$count"
