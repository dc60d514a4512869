# shellcheck shell=bash disable=SC2207
# SPDX-License-Identifier: LGPL-2.1-or-later
# bash completion for mshare-postgresql(1)

# Only names that postgresql-common would create are completed, because compgen -W expands $(...) in others.
__mshare_postgresql_servers() { # VERSION: its clusters; without, all versions
        pg_lsclusters -h 2>/dev/null | while read -r version cluster _; do
                [[ "$version $cluster" =~ ^[0-9.]+\ [A-Za-z0-9._-]+$ ]] || continue
                if [[ ! ${1-} ]]; then printf '%s\n' "$version"; elif [[ $1 == "$version" ]]; then printf '%s\n' "$cluster"; fi
        done | sort -u
}

__mshare_postgresql_units() {
        systemctl list-unit-files --type=service --no-legend --no-pager --plain 2>/dev/null | while read -r name _; do
                [[ $name =~ ^[A-Za-z0-9._:@+][A-Za-z0-9._:@+-]*$ ]] && printf '%s\n' "$name"
        done
}

_mshare_postgresql() {
        local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words='' verb='' version='' i n=0
        local verbs='enable disable status check'
        local options='--unit= -n --dry-run --now -h --help --version'

        COMPREPLY=()
        # readline splits at "=": join option and value again.
        if [[ $cur == '=' ]]; then
                cur=''
        elif [[ $prev == '=' ]]; then
                prev=${COMP_WORDS[COMP_CWORD-2]}
        fi
        case $prev in
        --unit) words=$(__mshare_postgresql_units) ;;
        --fallback) words='yes no' ;;
        --data | --bin) COMPREPLY=($(compgen -d -- "$cur")) && return ;;
        --region) return ;;
        esac
        if [[ $words ]]; then
                COMPREPLY=($(compgen -W "$words" -- "$cur"))
                return
        fi

        for ((i = 1; i < COMP_CWORD; i++)); do
                case ${COMP_WORDS[i]} in
                -* | =) ;;
                *)
                        [[ ${COMP_WORDS[i-1]} == '=' ]] && continue
                        case $n in 0) verb=${COMP_WORDS[i]} ;; 1) version=${COMP_WORDS[i]} ;; esac
                        n=$((n + 1)) ;;
                esac
        done
        if [[ $cur == -* ]]; then
                case $verb in
                enable) options+=' --region= --fallback= --data= --bin=' ;;
                disable) options+=' --all' ;;
                esac
                COMPREPLY=($(compgen -W "$options" -- "$cur"))
                [[ ${COMPREPLY[0]-} == *= ]] && compopt -o nospace 2>/dev/null
                return
        fi
        case $n in
        0) words=$verbs ;;
        1) words=$(__mshare_postgresql_servers) ;;
        2) words=$(__mshare_postgresql_servers "$version") ;;
        esac
        COMPREPLY=($(compgen -W "$words" -- "$cur"))
}

complete -F _mshare_postgresql mshare-postgresql
