# The .zshrc of a zsh that prints into $ANSWERS what it would offer for each line of $QUESTIONS. Only its line editor can tell.
fpath=($COMPLETIONS $fpath)
autoload -Uz compinit
compinit -D
# Nobody answers whether a long list is to be shown.
LISTMAX=1000

compadd() {
    # What a caller only looks through is not offered.
    if [[ ${@[1,(i)(-|--)]} != *-[OAD]\ * ]]; then
        local -a offered
        builtin compadd -O offered "$@"
        print -rl -- $offered >>$ANSWERS
    fi
    builtin compadd "$@"
}

zle-line-init() {
    for question in ${(f)QUESTIONS}; do
        print -r -- "? $question" >>$ANSWERS
        BUFFER=$question CURSOR=$#question
        zle list-choices
    done
    exit 0
}
zle -N zle-line-init
