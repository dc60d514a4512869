# shellcheck shell=bash disable=SC2207
# SPDX-License-Identifier: LGPL-2.1-or-later
# bash completion for msharectl(1)

# A region in msharefs may have any characters in its name, and compgen -W expands $(...) like the shell. So only names
# that the broker would accept are completed.
__msharectl_regions() {
        msharectl list --no-legend --no-pager --no-ask-password 2>/dev/null | while read -r name _; do
                [[ $name =~ ^[A-Za-z0-9._:@+][A-Za-z0-9._:@+-]*$ ]] && printf '%s\n' "$name"
        done
}

__msharectl_units() {
        systemctl list-units --type=service --state=active --no-legend --no-pager --plain 2>/dev/null | while read -r name _; do
                [[ $name =~ ^[A-Za-z0-9._:@+][A-Za-z0-9._:@+-]*$ ]] && printf '%s\n' "$name"
        done
}

_msharectl() {
        local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} verb='' words='' i n=0
        local verbs='list status show top create resize remove chmod chown clients maps check metrics monitor run help'
        local options='-h --help --version --json= --no-pager --no-legend --no-ask-password -H --host= -M --machine= -q --quiet'
        local create='--mode= --owner= --backing= --file= --populate --maximum= --lifetime= --linger= --address= --hugepages= --numa= --label='

        COMPREPLY=()
        # readline splits at "=": join option and value again.
        if [[ $cur == '=' ]]; then
                cur=''
        elif [[ $prev == '=' ]]; then
                prev=${COMP_WORDS[COMP_CWORD-2]}
        fi
        case $prev in
        --json) words='short pretty off' ;;
        --backing) words='anonymous memfd hugetlb file empty' ;;
        --lifetime) words='persistent while-leased' ;;
        --hugepages) words='never advise always' ;;
        --numa) words='default interleave' ;;
        --fallback) words='yes no' ;;
        --sort) words='name size resident sharers clients tables saved' ;;
        --property | -p) words=$(msharectl show --no-ask-password 2>/dev/null | sed 's/=.*//') ;;
        --owner) COMPREPLY=($(compgen -u -- "$cur")) && return ;;
        --host | -H) COMPREPLY=($(compgen -A hostname -- "$cur")) && return ;;
        --file | --output) COMPREPLY=($(compgen -f -- "$cur")) && return ;;
        --mode | --linger | --address | --label | --min-size | --maximum | --wait | --delay | -d | --iterations | -n | --machine | -M) return ;;
        esac
        if [[ $words ]]; then
                COMPREPLY=($(compgen -W "$words" -- "$cur"))
                return
        fi

        for ((i = 1; i < COMP_CWORD; i++)); do
                case ${COMP_WORDS[i]} in
                --) # what follows "--" is another command line
                        COMPREPLY=($(compgen -A command -A file -- "$cur"))
                        return ;;
                -H | -M) i=$((i + 1)) ;;
                -* | =) ;;
                *)
                        [[ ${COMP_WORDS[i-1]} == '=' ]] && continue
                        if [[ $verb ]]; then n=$((n + 1)); else verb=${COMP_WORDS[i]}; fi ;;
                esac
        done

        if [[ $cur == -* ]]; then
                case $verb in
                list) options+=' --addresses --sort=' ;;
                clients) options+=' --sharers' ;;
                check) options+=' --wait= --min-size=' ;;
                metrics) options+=' --output=' ;;
                top) options+=' -b --batch -n --iterations= -d --delay= --sort=' ;;
                show) options+=' -p --property= --value' ;;
                create) options+=" $create" ;;
                resize) options+=' --force --populate' ;;
                remove) options+=' --force' ;;
                run) options+=' --fallback= --min-size= --' ;;
                esac
                COMPREPLY=($(compgen -W "$options" -- "$cur"))
                [[ ${COMPREPLY[0]-} == *= ]] && compopt -o nospace 2>/dev/null
                return
        fi

        case $verb in
        '') words=$verbs ;;
        help) [[ $n == 0 ]] && words=$verbs ;;
        status | show | remove | monitor) words=$(__msharectl_regions) ;;
        clients | maps | resize) [[ $n == 0 ]] && words=$(__msharectl_regions) ;;
        check) if [[ $n == 0 ]]; then words=$(__msharectl_units); elif [[ $n == 1 ]]; then words=$(__msharectl_regions); fi ;;
        run) if [[ $n == 0 ]]; then words=$(__msharectl_regions); else words='--'; fi ;;
        chmod) if [[ $n == 0 ]]; then words='0600 0640 0660 0644 0666'; else words=$(__msharectl_regions); fi ;;
        chown)
                if [[ $n == 0 ]]; then
                        COMPREPLY=($(compgen -u -- "$cur"))
                        return
                fi
                words=$(__msharectl_regions) ;;
        esac
        COMPREPLY=($(compgen -W "$words" -- "$cur"))
}

complete -F _msharectl msharectl
