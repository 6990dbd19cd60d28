# Sources the first argument and prints what fish would offer for each of the others.
source $argv[1]
for question in $argv[2..]
    echo "? $question"
    complete -C $question
end
