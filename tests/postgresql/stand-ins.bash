# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A private tree for mshare-postgresql, with replacements for systemctl, msharectl and postgres; sourced. The script sets $tool,
# the program. "machine" makes the tree, in $root.
# shellcheck disable=SC2034,SC2154,SC2317

umask 022
# shellcheck source=tests/tap.bash
. "${BASH_SOURCE[0]%/*}/../tap.bash"
work=$(mktemp -d "${TMPDIR:-/tmp}/mshare-postgresql.XXXXXX")
tap_log=$work/log
trap 'rm -rf "$work"' EXIT
export MSHARE_POSTGRESQL_ROOT=$work/root PATH=$work/bin:$PATH LC_ALL=C.UTF-8
root=$MSHARE_POSTGRESQL_ROOT
owner=$(id -un)
[ "$owner" != root ] || owner=nobody

# says STATUS WORDS ARGUMENTS...: the tool exits with that status and prints this.
says() {
        local want=$1 words=$2 status=0
        shift 2
        "$tool" "$@" > "$work/said" 2>&1 < /dev/null || status=$?
        echo "mshare-postgresql $*: status $status"
        cat "$work/said"
        [ "$status" = "$want" ] && { [ -z "$words" ] || grep -qE -- "$words" "$work/said"; }
}
has() { cat "$root$1"; grep -qxF -- "$2" "$root$1"; }
lacks() { ! grep -rF -- "$2" "$root$1"; }
# A checksum of the tree, to see whether anything has changed.
tree() { (cd "$root" && find . ! -type d -printf '%p %y %m %l\n' -type f -exec sha256sum {} + | LC_ALL=C sort); }
unchanged() { diff <(echo "$1") <(tree); }
is() { [ "$("${@:2}")" = "$1" ]; } # is WANTED COMMAND...
called() { grep -qxF -- "$1" "$work/calls"; }
not_called() { ! grep -F -- "$1" "$work/calls"; }

refused() { # refused NAME STATUS WORDS ARGUMENTS...: the command is refused and changes nothing
        local name=$1 before
        shift
        before=$(tree)
        check "$name" says "$@"
        check "$name: nothing is changed" unchanged "$before"
}

# A machine with clusters 15/main and 13/old, and a unit of a hand-built server.
machine() {
        rm -rf "$root"
        : > "$work/calls"
        mkdir -p "$root/etc/postgresql/15/main" "$root/etc/postgresql/13/old" "$root/proc/sys/vm" "$root/srv/pg" \
                "$root"/usr/lib/postgresql/{13,15}/bin "$root/opt/pg/bin" "$root/sys/kernel/mm/transparent_hugepage"
        echo 1073741824 > "$root/proc/sys/vm/mshare_size"
        touch "$root"/etc/postgresql/{15/main,13/old}/postgresql.conf
        printf '%s\n' '# environment variables for postgres processes' "FOO = 'it''s'" > "$root/etc/postgresql/15/main/environment"
        for version in 13 15; do
                sed "s/VERSION/$version/" "$work/postgres" > "$root/usr/lib/postgresql/$version/bin/postgres"
                chmod 755 "$root/usr/lib/postgresql/$version/bin/postgres"
        done
        cp "$root/usr/lib/postgresql/15/bin/postgres" "$root/opt/pg/bin/"
        printf '%s\n' 'shared_memory_size 143' 'huge_pages try' > "$work/settings"
        : > "$work/regions"
        : > "$work/running"
        : > "$work/shared"
        : > "$work/failed"
        echo 0 > "$work/creator"
        : > "$work/files"
        rm -f "$work/reload" "$work/full" "$work/then" "$work"/exchange* "$work/at-work" "$work/fatal" "$work/kill"
        echo LD_PRELOAD=libother.so > "$work/preload"
}
mkdir "$work/bin"
cat > "$work/postgres" << EOF
#!/bin/sh
[ "\$1" != --version ] || { echo 'postgres (PostgreSQL) VERSION.18 (Debian VERSION.18-0)'; exit; }
printf '%s|' "\$@" > "$work/asked"
sed -n "s/^\$4 //p" "$work/settings" | grep . || { if [ -e "$work/fatal" ]; then cat "$work/fatal"; else echo "FATAL:  this is \$4"; fi >&2; exit 1; }
EOF
cat > "$work/bin/systemctl" << EOF
#!/bin/bash
echo "systemctl \$*" >> "$work/calls"
case "\$*" in
daemon-reload) if [ -e "$work/reload" ]; then . "$work/reload"; fi ;;
'show -P LoadState pg.service') echo loaded ;;
'show -P LoadState other.service') echo not-found ;;
'show -P LoadState masked.service') echo masked ;;
'show -P LoadState broken.service') echo bad-setting ;;
'show -P LoadState '*) echo loaded ;;
'show -P FragmentPath postgresql.service') echo /lib/systemd/system/postgresql.service ;;
'show -P FragmentPath postgresql@'*) echo /lib/systemd/system/postgresql@.service ;;
'show -P ExecStart postgresql.service') echo '{ path=/bin/true ; argv[]=/bin/true ; ignore_errors=no ; pid=0 }' ;;
'show -P ExecStart started.service') cat "$work/start" ;;
'show -P Environment started.service')
        echo PGDATA=/srv/pg/ PGROOT=/srv OPTION=shared_buffers=2GB \"TWO=-B 7\" \$(sed -n 's/^Environment=//p' "$root"/etc/systemd/system/started.service.d/*.conf 2> /dev/null) ;;
'show -P EnvironmentFiles started.service') cat "$work/files" ;;
'show -P DropInPaths '*) ls "$root/etc/systemd/system/\$4.d" | paste -sd ' ' ;;
'show -P User '*) echo $owner ;;
'show -P FragmentPath pg.service') echo /etc/systemd/system/pg.service ;;
'show -P ExecStart pg.service') echo '{ path=/opt/pg/bin/postgres ; argv[]=/opt/pg/bin/postgres -D /srv/pg -c x=y ; ignore_errors=no ; pid=0 }' ;;
'show -P Environment pg.service' | 'show -P Environment x'*)
        set -- "\$4"
        echo A=b \$(cat "$work/preload") \$(cat "$root/etc/systemd/system/\$1.d"/*.conf 2> /dev/null | sed -n 's/^Environment=//p' | sed 's/%%/%/g') ;;
'show -P User pg.service') echo $owner ;;
'-q is-active '*) grep -qxF "\${*: -1}" "$work/running" ;;
'-q is-failed '*) grep -qxF "\${*: -1}" "$work/failed" ;;
'restart mshare-region@'*)
        # It does not remove a region that it did not make.
        if grep -qxF "\$2" "$work/failed" && [ -s "$work/regions" ]; then exit 1; fi
        # What the broker would create from the file.
        name=\${2#mshare-region@} name=\${name%.service} size=\$(sed -n 's/^Size=//p' "$root/etc/mshare/regions.d/\$name.conf")
        if [ "\$size" = auto ]; then size=\$(sed -n 's/^shared_memory_size //p' "$work/settings"); size=\$((size + size / 10 + 1))M; fi
        echo "\$name \$((\${size%M} << 20))" > "$work/regions" ;;
esac
EOF
cat > "$work/bin/msharectl" << EOF
#!/bin/bash
echo "msharectl \$*" >> "$work/calls"
case "\$*" in
'show -p Size --value '*) sed -n "s/^\$5 //p" "$work/regions" ;;
'show -p Creator --value '*) cat "$work/creator" ;;
'remove --force '*) : > "$work/regions" ;;
'remove '*) [ ! -e "$work/at-work" ] || exit 1; : > "$work/regions" ;;
'check -q '*) grep -qxF "\$3" "$work/shared" ;;
'check '*) echo checked ;;
esac
EOF
cat > "$work/bin/pg_lsclusters" << EOF
#!/bin/sh
[ "\$*" = '-h 15 main' ] && echo "15 main 5432 down $owner /var/lib/postgresql/15/main /var/log/postgresql/postgresql-15-main.log"
EOF
# A disk that is full, as far as these two notice. They fail if their name and arguments match the pattern in the file "full",
# and after that the one in the file "then". If there is a file "kill", they kill the tool instead. After mktemp, the file
# "exchange-after-mktemp" does what another user could do at that moment.
for program in mktemp sync; do
        cat > "$work/bin/$program" << EOF
#!/bin/sh
pattern=\$(cat "$work/full" 2> /dev/null)
case "$program \$*" in \$pattern)
        if [ -e "$work/kill" ]; then kill -KILL 0; fi
        echo "$program: No space left on device" >&2
        if [ -e "$work/then" ]; then mv "$work/then" "$work/full"; fi
        exit 1
        ;;
esac
$(command -v $program) "\$@" || exit
if [ -e "$work/exchange-after-$program" ]; then . "$work/exchange-after-$program"; fi
EOF
done
if [ "$(id -u)" = 0 ]; then
        # The server's user must not be root; which user it is makes no difference here. After an answer, the file "exchange"
        # does what another user could do at that moment.
        cat > "$work/bin/stat" << EOF
#!/bin/sh
case "\$1 \$2" in
'-c %U') if [ -L "\$3" ] || [ -e "\$3/of-root" ]; then echo root; else echo nobody; fi ;;
'-Lc %U') if [ -e "\$3/of-root" ] || [ -e "\$3.of-root" ]; then echo root; else echo nobody; fi ;;
*) exec /usr/bin/stat "\$@" ;;
esac
if [ -e "$work/exchange" ]; then . "$work/exchange"; fi
EOF
        cat > "$work/bin/setpriv" << EOF
#!/bin/sh
echo "setpriv \$*" >> "$work/calls"
EOF
        cat >> "$work/bin/setpriv" << 'EOF'
while :; do case $1 in --*) shift ;; *) exec "$@" ;; esac; done
EOF
fi
chmod 755 "$work"/bin/*
etc=/etc/postgresql/15/main
dropin=/etc/systemd/system/postgresql@15-main.service.d/50-mshare-postgresql.conf
region=/etc/mshare/regions.d/pg-15-main.conf
