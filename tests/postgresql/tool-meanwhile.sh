#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# mshare-postgresql where it was killed, where clusters have changed meanwhile, and where other users interfere:
#   tool-meanwhile.sh MSHARE-POSTGRESQL
# shellcheck disable=SC2317
set -u

tool=$1
# shellcheck source=tests/postgresql/stand-ins.bash
. "$(dirname "$0")/stand-ins.bash"

# Killed at any point, by SIGKILL or a loss of power.
for file in "$dropin" $region /etc/systemd/system/mshare-region@pg-15-main.service.d/50-mshare-postgresql.conf $etc/environment; do
        for how in '15 main' --all; do
                machine
                before=$(tree)
                cp "$root$etc/environment" "$work/environment"
                "$tool" enable 15 main > /dev/null
                if [ "$file" = $etc/environment ]; then cp "$work/environment" "$root$file"; else rm "$root$file"; fi
                # shellcheck disable=SC2086 # two words
                check "disable $how without ${file##*/system/}" says 0 '' disable $how
                check 'leaves nothing then' unchanged "$before"
        done
done

# Killed before a file that it has written gets its name.
for file in regions.d mshare-region@pg-15-main.service.d environment.mshare postgresql@15-main.service.d; do
        for how in '15 main' --all; do
                machine
                before=$(tree)
                touch "$work/kill"
                echo "sync *$file*" > "$work/full"
                { setsid -w "$tool" enable 15 main; } > /dev/null 2>&1
                check "killed while it writes $file, enable leaves something" test "$before" != "$(tree)"
                # shellcheck disable=SC2086
                check "disable $how" says 0 '' disable $how
                check 'removes it' unchanged "$before"
        done
done

# Clusters that are renamed or dropped.
for how in '15 prod' --all; do
        machine
        mv "$root/etc/postgresql/15/main" "$root/etc/postgresql/15/prod"
        before=$(tree)
        mv "$root/etc/postgresql/15/prod" "$root/etc/postgresql/15/main"
        "$tool" enable 15 main > /dev/null
        mv "$root/etc/postgresql/15/main" "$root/etc/postgresql/15/prod"
        if [ "$how" != --all ]; then check 'the old name of a renamed cluster is disabled' says 0 '' disable 15 main; fi
        # shellcheck disable=SC2086
        check "and disable $how" says 0 'Changed /etc/postgresql/15/prod/environment' disable $how
        check 'leaves nothing of a renamed cluster' unchanged "$before"
done
machine
"$tool" enable 15 main > /dev/null
rm -r "$root$etc"
before=$(tree)
check 'a dropped cluster is disabled' says 0 '' disable 15 main
check 'too' lacks /etc 15-main
check 'once' says 1 'is not enabled; enabled are: none' disable 15 main
machine
"$tool" enable 15 main > /dev/null
enabled=$(tree)
sed -i '/^# mshare-postgresql: begin/,$d' "$root$etc/environment"
check 'a cluster that was made again' says 1 "$etc/environment does not set MSHARE_REGION: enable cluster 15 main again, or disable it" prepare --unit=postgresql@15-main.service
rm "$root$etc/environment"
check 'also without an environment' says 1 'enable cluster 15 main again' prepare --unit=postgresql@15-main.service
printf '%s\n' '# environment variables for postgres processes' "FOO = 'it''s'" > "$root$etc/environment"
check 'enable' says 0 '' enable 15 main
check 'makes it what it was' unchanged "$enabled"

# A unit that gets another program or other data.
for start in '/opt/pg/bin/postgres -D /srv/new' '/opt/new/bin/postgres -D /srv/pg'; do
        machine
        mkdir "$root/srv/new"
        cp -r "$root/opt/pg" "$root/opt/new"
        start_is() { echo "{ path=${1%% *} ; argv[]=$1 ; ignore_errors=no ; pid=0 }" > "$work/start"; }
        start_is '/opt/pg/bin/postgres -D /srv/pg'
        "$tool" enable --unit=started > /dev/null
        start_is '/opt/pg/bin/postgres -D /srv/pg -c work_mem=7MB'
        check 'a unit with another option' says 0 '' prepare --unit=started.service
        start_is "$start"
        check "now it is $start" says 1 'started.service starts another program or another data directory than when it was enabled: enable it again' prepare --unit=started.service
        check 'enable' says 0 '' enable --unit=started
        check 'is the cure' says 0 '' prepare --unit=started.service
        check 'disable' says 0 '' disable --unit=started
done
machine
mkdir -p "$root/etc/mshare/regions.d"
(umask 077; "$tool" enable 15 main > /dev/null)
check 'all can read the folder of a unit' is 755 stat -c %a "$root${dropin%/*}"
check 'disable' says 0 '' disable 15 main
check "the package's folder stays" test -d "$root/etc/mshare/regions.d"

# The unit of the region was killed, which leaves the region.
machine
"$tool" enable 15 main > /dev/null
prepare() { says "$1" "$2" prepare --unit=postgresql@15-main.service; }
echo pg-15-main $((158 << 20)) > "$work/regions"
echo mshare-region@pg-15-main.service > "$work/failed"
check 'a region of a killed unit' prepare 0 ''
check 'stays if it fits' not_called 'remove'
sed -i 's/^shared_memory_size .*/shared_memory_size 300/' "$work/settings"
echo 1000 > "$work/creator"
check 'a region of another user' prepare 1 'Cannot create region pg-15-main; see: journalctl -u mshare-region@pg-15-main.service$'
check 'is not removed' not_called 'remove'
echo 0 > "$work/creator"
check 'if it does not fit' prepare 0 ''
check 'it is replaced' grep -qx "pg-15-main $((331 << 20))" "$work/regions"
sed -i 's/^Size=auto/Size=500M/; /For=/d' "$root$region"
sed -i 's/^shared_memory_size .*/shared_memory_size 450/' "$work/settings"
check 'if the administrator has set a larger size' prepare 0 ''
check 'it is replaced as well' grep -qx "pg-15-main $((500 << 20))" "$work/regions"

# On Debian, postgres owns the folders above that of a cluster, and can make links and exchange folders there.
machine
"$tool" enable 15 main > /dev/null
mkdir "$root/srv/of-others"
cp "$root$etc/environment" "$root/srv/of-others/"
chmod 777 "$root/srv/of-others"
ln -s ../../../srv/of-others "$root/etc/postgresql/15/link"
check 'disable --all' says 0 "Changed $etc/environment" disable --all
check 'leaves a folder alone that all can write to' has /srv/of-others/environment "MSHARE_REGION = 'pg-15-main'"
refused 'enable' 1 'no cluster 15 link' enable 15 link
touch "$root/srv/of-others/postgresql.conf"
refused 'with settings' 1 'Other users can write to /etc/postgresql/15/link: chmod go-w /etc/postgresql/15/link$' enable 15 link
machine
before=$(tree)
chmod g+w "$root$etc"
check 'a folder of the user and a group' says 0 "Changed $etc/environment" enable 15 main
check 'disable' says 0 "Changed $etc/environment" disable 15 main
chmod g-w "$root$etc"
check 'leaves nothing' unchanged "$before"
machine
touch "$work/at-work"
"$tool" enable 15 main > /dev/null
echo pg-15-main 1048576 > "$work/regions"
echo mshare-region@pg-15-main.service > "$work/failed"
check 'a region that programs use is not replaced' prepare 1 'Cannot remove region pg-15-main$'
if [ "$(id -u)" = 0 ]; then
        for server in '15 main' --unit=pg; do
                machine
                # shellcheck disable=SC2086
                check "enable $server" says 0 '' enable $server
                check 'asks the server for its version as its user' grep -E "^setpriv --reuid=nobody .*/postgres --version$" "$work/calls"
        done
        machine
        "$tool" enable 15 main > /dev/null
        mkdir "$root/srv/of-root"
        touch "$root/srv/of-root/of-root"
        cp "$root$etc/environment" "$root/srv/of-root/"
        ln -s ../../../srv/of-root "$root/etc/postgresql/15/link"
        check 'disable --all' says 0 "Changed $etc/environment" disable --all
        check 'leaves a folder of root alone' has /srv/of-root/environment "MSHARE_REGION = 'pg-15-main'"

        machine
        touch "$root$etc/environment.of-root"
        refused 'an environment of root in a folder of another user' 1 "$etc/environment belongs to another user than its folder: change its owner first" enable 15 main
        rm "$root$etc/environment.of-root"
        "$tool" enable 15 main > /dev/null
        touch "$root$etc/environment.of-root"
        check 'if it was given to root later, disable' says 0 "Changed $etc/environment" disable 15 main

        # Settings of a cluster may belong to root as well.
        for command in 'disable 15 main' 'disable --all'; do
                machine
                touch "$root$etc/of-root"
                before=$(tree)
                check 'enable a cluster whose settings belong to root' says 0 "Changed $etc/environment" enable 15 main
                check 'has the region of its user' has $region User=nobody
                check 'with its size' has $region For=postgresql:15/main
                check 'is prepared' says 0 '' prepare --unit=postgresql@15-main.service
                # shellcheck disable=SC2086
                check "$command" says 0 "Changed $etc/environment" $command
                check 'leaves nothing' unchanged "$before"
                rm "$root$etc/of-root"
                before=$(tree)
                "$tool" enable 15 main > /dev/null
                touch "$root$etc/of-root"
                # shellcheck disable=SC2086
                check "enabled before, $command" says 0 "Changed $etc/environment" $command
                rm "$root$etc/of-root"
                check 'leaves nothing either' unchanged "$before"
        done
        touch "$root$etc/of-root"
        mv "$root$etc/environment" "$root/srv/environment"
        ln -s ../../../../srv/environment "$root$etc/environment"
        refused 'a link in a folder of root' 1 "$etc belongs to root, so $etc/environment must not be a symbolic link" enable 15 main

        for command in 'enable 15 main' 'disable 15 main' 'disable --all'; do
                machine
                "$tool" enable 15 main > /dev/null
                mkdir "$root/srv/of-root"
                touch "$root/srv/of-root/of-root"
                sed '/^FOO/d; s/^MSHARE_REGION/# &/' "$root$etc/environment" > "$root/srv/of-root/environment"
                before=$(cat "$root/srv/of-root/environment")
                echo "rm '$work/exchange'; mv '$root$etc' '$root/srv/main'; ln -s ../../../srv/of-root '$root$etc'" > "$work/exchange"
                # shellcheck disable=SC2086
                check "$command of a folder that is exchanged" says 1 "$etc belongs to root, and no settings of a cluster are there" $command
                check 'does not change what is there then' is "$before" cat "$root/srv/of-root/environment"
        done

        # The folder is root's, and is exchanged while its environment is being written.
        for command in 'enable 15 main' 'disable 15 main' 'disable --all'; do
                machine
                touch "$root$etc/of-root"
                [ "$command" = 'enable 15 main' ] || "$tool" enable 15 main > /dev/null
                mkdir "$root/srv/elsewhere"
                echo as it was > "$root/srv/elsewhere/environment"
                echo "case \$* in environment.mshare* | *$etc/environment.mshare*) mv '$root$etc' '$root/srv/main'; ln -s ../../../srv/elsewhere '$root$etc' ;; esac" > "$work/exchange-after-mktemp"
                # shellcheck disable=SC2086 # two words
                "$tool" $command > /dev/null 2>&1
                check "$command of a folder that is exchanged later" test -d "$root/srv/main"
                check 'does not change what is there then' is 'as it was' cat "$root/srv/elsewhere/environment"
                check 'and leaves nothing there' is environment ls "$root/srv/elsewhere"
        done
fi

echo "1..$count"
exit $failed
