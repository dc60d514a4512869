#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# mshare-postgresql does what its manual page says, on a private tree:
#   tool.sh MSHARE-POSTGRESQL ZSH-COMPLETION BASH-COMPLETION MANUAL-PAGE
# shellcheck disable=SC2317
set -u

tool=$1 zsh=$2 bash=$3 page=$4
# shellcheck source=tests/postgresql/stand-ins.bash
. "$(dirname "$0")/stand-ins.bash"

machine
before=$(tree)
check 'a dry run says what it would do' says 0 '^Would write /etc/mshare/regions.d/pg-15-main.conf:$' enable 15 main --dry-run
check 'with the content' grep -qx '    Size=auto' "$work/said"
check 'and does nothing' unchanged "$before"
check 'and systemd is not told anything' not_called daemon-reload
check 'enable' says 0 'postgresql@15-main.service is not running: it goes into region pg-15-main when it is started' enable 15 main
check 'the region asks the server for its size' has $region 'Size=auto'
check 'of that cluster' has $region 'For=postgresql:15/main'
check 'the unit wants it' has $dropin 'Wants=mshare-region@pg-15-main.service'
check 'after it' has $dropin 'After=mshare-region@pg-15-main.service'
check 'adjusts its size first' grep -qE '^ExecStartPre=\+/.*/mshare-postgresql prepare --unit=postgresql@15-main.service$' "$root$dropin"
check 'and checks the server' grep -qE '^ExecStartPost=\+/.*/msharectl check .*\$MAINPID pg-15-main$' "$root$dropin"
check 'the environment preloads the library' has $etc/environment "LD_PRELOAD = 'libmshare-preload.so'"
check 'for that region' has $etc/environment "MSHARE_REGION = 'pg-15-main'"
check 'and small buffers, which the server may have later' has $etc/environment "MSHARE_MIN_SIZE = '1M'"
check 'what was there before is still there' has $etc/environment "FOO = 'it''s'"
check 'the region goes with the server' has '/etc/systemd/system/mshare-region@pg-15-main.service.d/50-mshare-postgresql.conf' 'StopWhenUnneeded=yes'
check 'systemd has read it' called 'systemctl daemon-reload'
check 'the server was not touched' not_called 'restart postgresql'
enabled=$(tree)
check 'enable again' says 0 '' enable 15 main
check 'changes nothing' unchanged "$enabled"
check 'status' says 0 '^postgresql@15-main.service +pg-15-main +- +stopped +-$' status
echo pg-15-main 166723584 > "$work/regions"
echo postgresql@15-main.service | tee "$work/running" > "$work/shared"
check 'status of a running server' says 0 '^postgresql@15-main.service +pg-15-main +159M +running +yes$' status 15 main
: > "$work/shared"
check 'and is not in its region' says 0 'running +no$' status
check 'check is msharectl check' says 0 '^checked$' check 15 main
check 'with unit and region' called 'msharectl check postgresql@15-main.service pg-15-main'
: > "$work/running"
check 'disable' says 0 '' disable 15 main
check 'leaves nothing' unchanged "$before"
check 'none of it is enabled' says 0 'No server is enabled' status
check 'disable again is an error' says 1 'postgresql@15-main.service is not enabled; enabled are: none' disable 15 main

for old in "LD_PRELOAD = 'libjemalloc.so.2'" 'LD_PRELOAD = libjemalloc.so.2' "LD_PRELOAD='libjemalloc.so.2' # it's faster" \
        'LD_PRELOAD libjemalloc.so.2 # faster'; do
        machine
        echo "$old" >> "$root$etc/environment"
        sum=$(sha256sum < "$root$etc/environment")
        check "$old stays preloaded" says 0 '' enable 15 main
        check 'behind ours' has $etc/environment "LD_PRELOAD = 'libmshare-preload.so:libjemalloc.so.2'"
        check 'disabled' says 0 '' disable 15 main
        check 'it is as it was' bash -c '[ "$(sha256sum < "$0")" = "$1" ]' "$root$etc/environment" "$sum"
done
machine
echo "LD_PRELOAD = 'liba.so  /opt/b.so:libc.so'" >> "$root$etc/environment"
check 'several libraries, with blanks between them' says 0 '' enable 15 main
check 'stay preloaded' has $etc/environment "LD_PRELOAD = 'libmshare-preload.so:liba.so:/opt/b.so:libc.so'"
machine
rm "$root$etc/environment"
check 'without an environment file' says 0 '' enable 15 main
check 'one is made' has $etc/environment "MSHARE_REGION = 'pg-15-main'"
check 'and goes' says 0 "Changed $etc/environment" disable 15 main
check 'again' test ! -e "$root$etc/environment"

# Passwords may be in the file, and it may lie elsewhere.
machine
mv "$root$etc/environment" "$root/srv/environment"
ln -s ../../../../srv/environment "$root$etc/environment"
chmod 640 "$root/srv/environment"
before=$(tree)
check 'an environment file that others may not read, by way of a link' says 0 '' enable 15 main
check 'is changed' has /srv/environment "MSHARE_REGION = 'pg-15-main'"
check 'others still may not read it' is 640 stat -c %a "$root/srv/environment"
check 'the link stays one' test -L "$root$etc/environment"
check 'disabled, with link and mode' says 0 '' disable 15 main
check 'all is as it was' unchanged "$before"

# The configuration may lie elsewhere as well.
machine
mv "$root$etc" "$root/srv/main"
ln -s ../../../srv/main "$root$etc"
before=$(tree)
check 'a link to the configuration' says 0 '' enable 15 main
check 'is followed' has /srv/main/environment "MSHARE_REGION = 'pg-15-main'"
check 'also by disable' says 0 '' disable 15 main
check 'which leaves nothing' unchanged "$before"

machine
check 'if it is running, the restart is mentioned' bash -c "echo postgresql@15-main.service > $work/running"
check 'that is needed' says 0 'is running: it goes into region pg-15-main when it is restarted' enable 15 main
check 'or restarted' says 0 '' enable 15 main --now
check 'indeed' called 'systemctl restart postgresql@15-main.service'
echo postgresql@15-main.service > "$work/shared"
: > "$work/calls"
check 'a running server stays' says 0 'is running: it leaves region pg-15-main when it is restarted' disable 15 main
check 'in its region' not_called 'stop mshare-region@'

machine
check 'fallback' says 0 '' enable 15 main --fallback yes
check 'is said to the library' has $etc/environment "MSHARE_FALLBACK = 'yes'"
check 'and lets the start go on' grep -q '^ExecStartPre=+-' "$root$dropin"
check 'unchecked' lacks $dropin ExecStartPost
before=$(tree)
check 'without the option, enable' says 0 '' enable 15 main
check 'keeps it' unchanged "$before"
check 'with fallback=no, enable' says 0 '' enable 15 main --fallback=no
check 'ends it' lacks $etc/environment MSHARE_FALLBACK
check 'and the start is checked again' grep -q '^ExecStartPost=' "$root$dropin"

# Options of the server in pg_ctl.conf. The unit of the region would not count them.
asked() { sed 's/|$//' "$work/asked"; }
for options in '' '-t 60' '-l -o'; do
        machine
        printf "pg_ctl_options = '%s'  # such as -t\n" "$options" > "$root$etc/pg_ctl.conf"
        check "pg_ctl.conf with '$options'" says 0 '' enable 15 main
        check 'changes no setting' has $region Size=auto
done
machine
before=$(tree)
pg_ctl() { printf "# options\nPG_CTL_OPTIONS='-o --work-mem=1MB'\npg_ctl_options = '%s' # mine\n" "$1" > "$root$etc/pg_ctl.conf"; }
pg_ctl "-t 60 -o -cshared_buffers=2GB -wo --max-connections=7 --options=-c -o \"search_path\"=''a'' -o-B -o 9 -o -Dx"
check 'pg_ctl.conf with settings' says 0 '' enable 15 main
check 'is counted' is "-D|$root$etc|-C|shared_memory_size|-c|shared_buffers=2GB|--max-connections=7|-c|search_path=a|-B9" asked
check 'and gives the size' has $region Size=158M
check 'for which no server is asked' lacks $region For=
echo pg-15-main 165675008 > "$work/regions"
sed -i 's/^shared_memory_size .*/shared_memory_size 300/' "$work/settings"
check 'before its start' says 0 '' prepare --unit=postgresql@15-main.service
check 'it grows' has $region Size=331M
check 'in the region, too' grep -qx "pg-15-main $((331 << 20))" "$work/regions"
rm "$root$etc/pg_ctl.conf"
sed -i 's/^shared_memory_size .*/shared_memory_size 143/' "$work/settings"
check 'without pg_ctl.conf' says 0 '' prepare --unit=postgresql@15-main.service
check 'the region asks the server' has $region Size=auto
check 'of that cluster again' has $region For=postgresql:15/main
pg_ctl '-o --shared_buffers=3GB'
sed -i 's/^shared_memory_size .*/shared_memory_size 500/' "$work/settings"
check 'with settings that were added' says 0 '' prepare --unit=postgresql@15-main.service
check 'it has their size' has $region Size=551M
sed -i '/^# To set another size/d; s/^Size=.*/Size=4G/' "$root$region"
check 'enable once more' says 0 '' enable 15 main
check 'keeps a size that was set' has $region Size=4G
check 'which does not follow' lacks $region '# To set another size'
pg_ctl '-o "-c shared_buffers=3GB'
check 'a quote that is not closed' says 1 'Cannot count .* /etc/postgresql/15/main/pg_ctl.conf, because .*: "-c$' prepare --unit=postgresql@15-main.service
rm "$root$etc/pg_ctl.conf"
check 'disable' says 0 '' disable 15 main
check 'leaves nothing' unchanged "$before"

# What an administrator has written into the region's file is kept.
machine
check 'enable, and then a setting of the administrator' says 0 '' enable 15 main
printf '%s\n' 'HugePages = always' '# for the large tables' >> "$root$region"
sed -i 's/^Mode=.*/Mode = 0640/; s/^Group=.*/Group = backup/' "$root$region"
check 'enable again' says 0 '' enable 15 main
check 'keeps it' has $region 'HugePages = always'
check 'and a comment' has $region '# for the large tables'
check 'and the mode' has $region 'Mode=0640'
check 'and the group' has $region 'Group=backup'
check 'once' is 1 grep -c '^Mode' "$root$region"
sed -i 's/^User=.*/User=daemon/' "$root$region"
check 'if the user has changed' says 0 '' enable 15 main
check 'its group counts again' has $region "Group=$(id -gn "$owner")"
sed -i 's/^Size=auto/Size=4G/; /^For=/d' "$root$region"
check 'once more' says 0 '' enable 15 main
check 'a size that was set is kept' has $region Size=4G
check 'without the comment' lacks $region '# To set another size'
check 'without a server to ask' lacks $region For=
check 'and goes with disable' says 0 "Removed $region" disable 15 main

# Requests that are refused and change nothing.
machine
cp -r "$root/etc/postgresql/15/main" "$root/etc/postgresql/15/my-db"
refused 'a name that systemd does not understand' 1 "systemd cannot start cluster 15 my-db, because '-' is in its name" enable 15 my-db
refused 'no such cluster' 1 'no cluster 15 other: /etc/postgresql/15/other/postgresql.conf does not exist' enable 15 other
refused 'too old a server' 1 'PostgreSQL 13 cannot report how much' enable 13 old
refused 'no version' 2 "Invalid version of PostgreSQL 'main'" enable main 15
refused 'a path for a cluster' 2 "Invalid name of a cluster '../x'" enable 15 ../x
refused 'no server' 2 'No server: give VERSION and CLUSTER' enable
refused 'no command' 2 "Unknown command 'start'" start
refused 'no such option' 2 "Unknown option '--frob'" enable 15 main --frob
refused 'a bad region' 1 "Invalid region name 'a b'" enable 15 main --region 'a b'
refused 'a bad fallback' 2 "Invalid --fallback 'maybe': expected yes or no" enable 15 main --fallback=maybe
refused 'cluster and unit' 2 "Both --unit=pg and '15 main' name a server" enable 15 main --unit pg
refused 'a unit that does not exist' 1 'There is no unit other.service' enable --unit=other
refused 'a unit that is not a service' 2 "Invalid --unit 'x.mount': expected a service" enable --unit=x.mount
refused 'a masked unit' 1 'masked.service is masked' enable --unit=masked
refused 'a unit that systemd cannot load' 1 'systemd cannot load broken.service; see: systemctl status' enable --unit=broken
printf '%s\n' '#!/bin/sh' 'case $1 in -u) echo 1000 ;; -un) echo somebody ;; *) exec /usr/bin/id "$@" ;; esac' > "$work/bin/id"
chmod 755 "$work/bin/id"
refused 'a dry run of another user' 1 "Only root and $owner can read the settings of postgresql@15-main.service" enable 15 main -n
rm "$work/bin/id"
sed -i 's/^huge_pages .*/huge_pages on/' "$work/settings"
refused 'huge pages' 1 "huge_pages is 'on'" enable 15 main
machine
sed -i '/^shared_memory_size/d' "$work/settings"
refused 'a server that reports nothing' 1 'does not report how much shared memory the server needs: FATAL:  this is shared_memory_size$' enable 15 main
refused 'a unit whose server reports nothing' 1 'does not report how much shared memory the server needs: FATAL:  this is shared_memory_size$' enable --unit=pg
echo postgresql@15-main.service > "$work/running"
check 'if it is running' says 0 'is running: it goes into region pg-15-main when it is restarted' enable 15 main
check 'its region asks later' has $region Size=auto
echo 'FATAL:  lock file "postmaster.pid" already exists' > "$work/fatal"
check 'if it is running without its unit' says 0 '' enable --unit=pg
check 'its first start corrects the size' has /etc/mshare/regions.d/pg-pg.conf Size=1G
machine
rm "$root/proc/sys/vm/mshare_size"
refused 'a kernel without mshare' 1 'This kernel has no mshare' enable 15 main
machine
echo "MSHARE_REGION = 'mine'" >> "$root$etc/environment"
refused 'set up by hand' 1 'has MSHARE_ settings that were not made by this command' enable 15 main
machine
echo "pg_ctl_options = '-o --shared_buffers=\$SIZE'" > "$root$etc/pg_ctl.conf"
refused 'a variable in pg_ctl.conf' 1 'does not accept its configuration: Cannot count' enable 15 main
machine
echo "LD_PRELOAD = 'a''b.so'" >> "$root$etc/environment"
refused 'a library with a quote in its name' 1 "Invalid LD_PRELOAD .* in the environment of postgresql@15-main.service" enable 15 main
machine
mkdir -p "$root/etc/mshare/regions.d"
echo '[Region]' > "$root$region"
refused 'a region file by hand' 1 'exists and was not made by this command' enable 15 main
machine
"$tool" enable 15 main > /dev/null
refused 'the region of another' 1 'Region pg-15-main belongs to postgresql@15-main.service' enable --unit=pg --region=pg-15-main
refused 'another region' 1 'is enabled with region pg-15-main: disable it first' enable 15 main --region=other
sed -i '/^# mshare-postgresql: end/d' "$root$etc/environment"
refused 'half of our lines' 1 "a line '# mshare-postgresql: begin' or" disable 15 main

# An enable that fails or is interrupted leaves nothing.
machine
echo '# mshare-postgresql: end' >> "$root$etc/environment"
refused 'half of our lines, at first' 1 "a line '# mshare-postgresql: begin' or" enable 15 main
machine
mkdir -p "$root/etc/systemd/system"
: > "$root${dropin%/*}"
refused 'the last file cannot be written' 1 'postgresql@15-main.service is not enabled' enable 15 main
for folder in regions.d mshare-region@pg-15-main.service.d postgresql@15-main.service.d; do
        for program in mktemp sync; do
                machine
                echo "$program */$folder/*" > "$work/full"
                refused "no room in $folder for $program" 1 'Cannot write /etc/.*.conf$' enable 15 main
        done
done
machine
echo "mktemp environment.mshare*" > "$work/full"
refused 'no room for the environment' 1 "Cannot change $etc/environment" enable 15 main
machine
before=$(tree)
echo 'sync */postgresql@15-main.service.d/*' > "$work/full"
echo "mktemp environment.mshare*" > "$work/then"
check 'no room for the environment when it is undone' says 1 'postgresql@15-main.service is enabled in part' enable 15 main
check 'it is not said to be changed back' is 1 grep -c "^Changed $etc/environment" "$work/said"
check 'disable fails' says 1 "Cannot change $etc/environment" disable 15 main
rm "$work/full"
check 'with room, disable' says 0 "^Changed $etc/environment" disable 15 main
check 'leaves nothing of it then' unchanged "$before"
for signal in INT TERM; do
        machine
        echo "rm $work/reload; kill -$signal \$PPID; kill -$signal \$\$" > "$work/reload"
        refused "SIG$signal" 1 'postgresql@15-main.service is not enabled' enable 15 main
done
machine
"$tool" enable 15 main > /dev/null
enabled=$(tree)
echo 'exit 1' > "$work/reload"
check 'if it is enabled already' says 1 '' enable 15 main --fallback=yes
rm "$work/reload"
check 'a failure does not disable it' test -e "$root$dropin"
check 'the next try' says 0 '' enable 15 main --fallback=no
check 'makes it what it was' unchanged "$enabled"

# Before each start.
machine
"$tool" enable 15 main > /dev/null
prepare() { says "$1" "$2" prepare --unit=postgresql@15-main.service; }
echo pg-15-main 166723584 > "$work/regions"
: > "$work/calls"
check 'a region that fits' prepare 0 ''
check 'stays' not_called 'restart'
sed -i 's/^shared_memory_size .*/shared_memory_size 300/' "$work/settings"
check 'a server that has grown' prepare 0 ''
check 'gets a larger one' grep -qx "pg-15-main $((331 << 20))" "$work/regions"
sed -i 's/^shared_memory_size .*/shared_memory_size 143/' "$work/settings"
check 'one that has shrunk' prepare 0 ''
check 'a smaller one' grep -qx "pg-15-main $((158 << 20))" "$work/regions"
sed -i 's/^Size=auto/Size=160M/' "$root$region"
: > "$work/regions"
check 'a region that was not made is not called too small' prepare 1 'There is no region pg-15-main; see: journalctl -u mshare-region@pg-15-main.service$'
check 'the file says what else to remove' grep -A1 '^# To set another size, which is kept then, remove the line with For=' "$root$region"
echo pg-15-main $((158 << 20)) > "$work/regions"
sed -i '/^For/d' "$root$region"
sed -i 's/^shared_memory_size .*/shared_memory_size 300/' "$work/settings"
check 'a size that the administrator has set is kept' prepare 1 "The server needs $((300 << 20)) bytes of shared memory, but region pg-15-main has $((158 << 20))"
: > "$work/settings"
check 'a server that reports nothing' prepare 1 'does not report how much shared memory the server needs: FATAL:  this is shared_memory_size$'

# A server that was built by hand.
machine
before=$(tree)
unit=/etc/systemd/system/pg.service.d/50-mshare-postgresql.conf
check 'a unit' says 0 'pg.service is not running: it goes into region pg-pg' enable --unit pg
check 'has a region of its size' has /etc/mshare/regions.d/pg-pg.conf Size=158M
check 'has its environment in the unit' has $unit 'Environment=MSHARE_REGION=pg-pg'
check 'with what was preloaded' has $unit 'Environment=LD_PRELOAD=libmshare-preload.so:libother.so'
check 'its data are found' has $unit Data=/srv/pg
sed -i 's/^shared_memory_size .*/shared_memory_size 300/' "$work/settings"
check 'it grows' says 0 '' prepare --unit=pg.service
check 'and so does the file' has /etc/mshare/regions.d/pg-pg.conf Size=331M
echo HugePages=always >> "$root/etc/mshare/regions.d/pg-pg.conf"
sed -i 's/^shared_memory_size .*/shared_memory_size 500/' "$work/settings"
check 'it grows again' says 0 '' prepare --unit=pg.service
check 'with the file' has /etc/mshare/regions.d/pg-pg.conf Size=551M
check "and the administrator's setting" has /etc/mshare/regions.d/pg-pg.conf HugePages=always
sed -i '/^# To set another size/d; s/^Size=.*/Size=700M/' "$root/etc/mshare/regions.d/pg-pg.conf"
echo "pg-pg $((700 << 20))" > "$work/regions"
check 'a size that was set' says 0 '' prepare --unit=pg.service
check 'is kept, although it is large' has /etc/mshare/regions.d/pg-pg.conf Size=700M
check 'also by enable' says 0 '' enable --unit=pg
check 'and before a start' says 0 '' prepare --unit=pg.service
check 'which comes later' has /etc/mshare/regions.d/pg-pg.conf Size=700M
check 'disable all' says 0 '' disable --all
check 'leaves nothing of it' unchanged "$before"

# How other distributions and administrators start it.
started() { # started ARGUMENTS WHAT-IT-IS-ASKED
        machine
        echo "{ path=/opt/pg/bin/${1%% *} ; argv[]=/opt/pg/bin/$1 ; ignore_errors=no ; start_time=[n/a] ; stop_time=[n/a] ; pid=0 ; code=(null) ; status=0/0 }" > "$work/start"
        check "$1" says 0 '' enable --unit=started
        check 'is asked what it is started with' is "-D|$root/srv/pg${2}" sed 's/|$//' "$work/asked"
}
# shellcheck disable=SC2016 # the unit's variables
started 'postmaster -D ${PGDATA}' '/|-C|shared_memory_size'
# shellcheck disable=SC2016
started 'postgres -D ${PGROOT}/pg -c $OPTION' '|-C|shared_memory_size|-c|shared_buffers=2GB'
started 'postgres -i' '/|-C|shared_memory_size'
started "postgres -D /srv/pg -c shared_preload_libraries=a, b -p 5433 --max-connections=7 -B 9" \
        '|-C|shared_memory_size|-c|shared_preload_libraries=a, b|--max-connections=7|-B9'
started 'pg_ctl start -D /srv/pg -l log -o -c shared_buffers=2GB -w' '|-C|shared_memory_size|-c|shared_buffers=2GB'
# shellcheck disable=SC2016
started 'postgres $TWO -c search_path=${TWO}' '/|-C|shared_memory_size|-B7|-c|search_path=-B 7'
# Variables in a file. systemd reads it after all lines of Environment=.
with_file() { # with_file LINE...
        machine
        mkdir -p "$root/etc/default"
        printf '%s\n' "$@" > "$root/etc/default/pg"
        # shellcheck disable=SC2016
        echo '{ path=/opt/pg/bin/postgres ; argv[]=/opt/pg/bin/postgres -D ${PGDATA} $OPTIONS ; ignore_errors=no ; pid=0 }' > "$work/start"
        printf '%s\n' '/etc/default/pg (ignore_errors=no)' '/etc/default/none* (ignore_errors=yes)' > "$work/files"
}
with_file '# PGDATA=/' ' PGDATA = "/srv"/pg  ' "OPTIONS=-c shared_buffers=3GB \\" '  -B 7'
check 'a unit with a file of variables' says 0 '' enable --unit=started
check 'is asked with them' is "-D|$root/srv/pg|-C|shared_memory_size|-c|shared_buffers=3GB|-B7" asked
check 'its data are those of the file' has /etc/systemd/system/started.service.d/50-mshare-postgresql.conf Data=/srv/pg
with_file PGDATA=/srv/pg LD_PRELOAD=libx.so
refused 'a file that preloads a library' 1 "LD_PRELOAD is 'libx.so' and not 'libmshare-preload.so:libx.so' in /etc/default/pg /etc/default/none\*, which started.service reads after" \
        enable --unit=started
with_file PGDATA=/srv/pg MSHARE_REGION=other
refused 'a file that names a region' 1 "MSHARE_REGION is 'other' and not 'pg-started' in /etc/default/pg" enable --unit=started
machine
# As systemctl shows it.
echo '"LD_PRELOAD=liba.so /opt/b%c.so:libd.so" "E=\"f"' > "$work/preload"
check 'a unit that preloads several libraries' says 0 '' enable --unit=pg
check 'keeps them' has $unit 'Environment=LD_PRELOAD=libmshare-preload.so:liba.so:/opt/b%%c.so:libd.so'
before=$(tree)
check 'enabled again' says 0 '' enable --unit=pg
check 'it has each of them once' unchanged "$before"
for line in LD_PRELOAD=libjemalloc.so LD_PRELOAD=; do
        machine
        mkdir -p "$root/etc/systemd/system/pg.service.d"
        echo "Environment=$line" > "$root/etc/systemd/system/pg.service.d/override.conf"
        refused "$line that comes later" 1 "LD_PRELOAD in the environment of pg.service is '${line#*=}' and not 'libmshare" enable --unit=pg
        mv "$root/etc/systemd/system/pg.service.d/override.conf" "$root/etc/systemd/system/pg.service.d/40-ours.conf"
        check 'that comes before' says 0 '' enable --unit=pg
done
machine
check 'a unit with a backslash in its name' says 0 '' enable --unit='x\x2dy.service' --region=xy --data=/srv/pg --bin=/opt/pg/bin
check 'which systemd reads as one' grep -F 'prepare --unit=x\\x2dy.service' "$root/etc/systemd/system/x\x2dy.service.d/50-mshare-postgresql.conf"
machine
refused 'the unit of all clusters' 1 'postgresql.service belongs to postgresql-common: give VERSION and CLUSTER' enable --unit=postgresql
refused "a cluster's unit" 1 'postgresql@15-main.service belongs to postgresql-common' enable --unit=postgresql@15-main

# Statements that occur in several places must agree.
options() { grep -oE -- '--[a-z]+(-[a-z]+)*' | LC_ALL=C sort -u; }
"$tool" --help | options > "$work/help"
check 'options of the manual page' diff "$work/help" <(grep '^\.It Fl' "$page" | sed 's/ -/ --/g' | options)
check 'options that bash completes' diff "$work/help" <(grep -E "options(=|\+=)'" "$bash" | options)
check 'options that zsh completes' diff "$work/help" <(sed -n '/_arguments/,/server->/p' "$zsh" | options)
four() { grep -A3 '^    apt update$' "${page%/*}/../$1"; }
four_lines() { four README.md | wc -l; }
check 'the four commands of README.md and doc/install.md' diff <(four README.md) <(four doc/install.md)
check 'are four' is 4 four_lines
pg_lsclusters() { printf '%s\n' '15 main 5432 online postgres /var/lib/x /var/log/x' '15 $(x) 1 down' '17 two 5433 down'; }
# shellcheck source=/dev/null
. "$bash"
completes() {
        local want=$1
        shift
        COMP_WORDS=(mshare-postgresql "$@") COMP_CWORD=$#
        _mshare_postgresql
        echo "${COMPREPLY[*]-}"
        [ "${COMPREPLY[*]-}" = "$want" ]
}
check 'bash completes commands' completes 'enable disable status check' ''
check 'versions' completes '15 17' enable ''
check 'clusters' completes main enable 15 ''
check 'options' completes --dry-run enable 15 main --dr
if command -v zsh > /dev/null; then check 'zsh reads its file' zsh -n "$zsh"; fi

echo "1..$count"
exit $failed
