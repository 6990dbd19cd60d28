# Sources the first argument and prints what bash would offer for each of the others.
# shellcheck source=/dev/null
. "$1"
shift

# What a completion function leaves to readline: file or folder names.
compopt() { fallback=$2; }

for question; do
    echo "? $question"
    read -ra COMP_WORDS <<<"$question"
    [[ $question != *' ' ]] || COMP_WORDS+=('')
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    COMPREPLY=() fallback=''
    "_${COMP_WORDS[0]//-/_}"
    printf '%s\n' "${COMPREPLY[@]}"
    case $fallback,${COMPREPLY[*]} in
        default,) compgen -f -- "${COMP_WORDS[COMP_CWORD]}" || true ;;
        dirnames, | plusdirs,*) compgen -d -- "${COMP_WORDS[COMP_CWORD]}" || true ;;
    esac
done
