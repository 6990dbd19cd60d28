# fish completion of reclone. agent/tests/completions.rs holds it against the help.

# Whether the words so far say one of these verbs; '' stands for none yet.
function __reclone_at
    set -l words (commandline -opc)
    set -e words[1]
    # No option before the verb takes a value.
    set words (string match -v -- '-*' $words)
    set -l verb $words[1]
    test "$verb" = session; and set verb $words[1..2]
    contains -- "$verb" $argv
end

complete -c reclone -f
complete -c reclone -l help -d 'display usage information'

complete -c reclone -n '__reclone_at ""' -l version -d 'print the version and exit'
complete -c reclone -n '__reclone_at ""' -s q -l quiet -d 'say nothing but warnings and errors'
complete -c reclone -n '__reclone_at ""' -s v -l verbose -d 'say more'
complete -c reclone -n '__reclone_at ""' -a enroll -d 'Make this machine a clone'
complete -c reclone -n '__reclone_at ""' -a unenroll -d 'Make this machine no clone any more'
complete -c reclone -n '__reclone_at ""' -a sync -d "Fetch the store's newest generation and make it current"
complete -c reclone -n '__reclone_at ""' -a fetch -d "Fetch the store's newest generation and stage it"
complete -c reclone -n '__reclone_at ""' -a assemble -d 'Mount the current generation at a folder'
complete -c reclone -n '__reclone_at ""' -a boot -d 'Sync and assemble, as the initramfs does'
complete -c reclone -n '__reclone_at ""' -a install -d 'Lay out an empty disk for the boot that goes on'
complete -c reclone -n '__reclone_at ""' -a status -d 'Tell what the pool holds'
complete -c reclone -n '__reclone_at ""' -a explain -d 'Tell what becomes of a path at the next boot'
complete -c reclone -n '__reclone_at ""' -a diff -d 'Tell what differs from the generation that runs'
complete -c reclone -n '__reclone_at ""' -a restore -d 'Make files and folders exactly as in a generation'
complete -c reclone -n '__reclone_at ""' -a session -d 'Look into what was written since a boot, and bring it back'
complete -c reclone -n '__reclone_at ""' -a thaw -d 'Have the session that runs go on over the next boots'
complete -c reclone -n '__reclone_at ""' -a freeze -d 'Take back `thaw`'
complete -c reclone -n '__reclone_at ""' -a verify -d 'Read every object, manifest and image, and tell what is damaged'
complete -c reclone -n '__reclone_at ""' -a good -d 'Run the health checks of /etc/reclone/health.d and end the trial'
complete -c reclone -n '__reclone_at ""' -a loader -d 'Have the boot loader of this machine start the kernel of the generation that runs'
complete -c reclone -n '__reclone_at ""' -a rollback -d 'Make the previous generation current'
complete -c reclone -n '__reclone_at ""' -a reset -d 'Sync, check everything, fetch what is damaged, and drop every session'
complete -c reclone -n '__reclone_at ""' -a prune -d 'Remove what neither the current nor the previous generation needs'
complete -c reclone -n '__reclone_at session' -a list -d 'List the sessions that have ended and stay, and the one that runs'
complete -c reclone -n '__reclone_at session' -a diff -d 'Tell what was changed in an ended session'
complete -c reclone -n '__reclone_at session' -a recover -d 'Bring files and folders back as they were at the end of a session'
complete -c reclone -n '__reclone_at session' -a drop -d 'Remove ended sessions'

# The pool and the store.
complete -c reclone -n '__reclone_at sync fetch assemble status explain diff restore thaw freeze verify good loader rollback reset prune' -l pool -x -a '(__fish_complete_directories)' -d 'the pool'
complete -c reclone -n '__reclone_at "session list" "session diff" "session recover" "session drop"' -l pool -x -a '(__fish_complete_directories)' -d 'the pool'
complete -c reclone -n '__reclone_at sync fetch verify reset' -l store -x -a '(__fish_complete_directories)' -d 'the store'
complete -c reclone -n '__reclone_at enroll sync fetch verify reset' -l key -r -F -d "the model's public key"
complete -c reclone -n '__reclone_at enroll sync' -l model -x -d 'the model to follow'
complete -c reclone -n '__reclone_at enroll sync' -l ca -r -F -d 'a PEM file of certificate authorities to believe'
complete -c reclone -n '__reclone_at enroll sync' -l pin -x -d "SHA-256 of the server's public key"
complete -c reclone -n '__reclone_at enroll sync' -l token-file -r -F -d 'a file with the bearer token'
complete -c reclone -n '__reclone_at enroll sync' -l proxy -x -d 'an HTTP proxy'
complete -c reclone -n '__reclone_at sync fetch' -l timeout -x -d 'seconds until everything must be over'
complete -c reclone -n '__reclone_at sync' -l plain-root -x -a '(__fish_complete_directories)' -d 'where files may be that a first sync need not fetch'
complete -c reclone -n '__reclone_at fetch' -l limit-rate -x -d 'bytes a second that may be received at most'

# What only one verb has, or says in other words.
complete -c reclone -n '__reclone_at enroll' -s n -l dry-run -d 'show what would come and what would be written, and change nothing'
complete -c reclone -n '__reclone_at unenroll loader' -s n -l dry-run -d 'say what would be done, and change nothing'
complete -c reclone -n '__reclone_at unenroll' -l remove-pool -d 'remove the pool, too, with what was kept and with all sessions'
complete -c reclone -n '__reclone_at sync' -s n -l dry-run -d 'say what would be fetched and changed'
complete -c reclone -n '__reclone_at sync' -l diff -d 'with --dry-run: list the paths that would change'
complete -c reclone -n '__reclone_at assemble' -l session -x -a 'none (__fish_complete_directories)' -d 'the folder for what is written'
complete -c reclone -n '__reclone_at assemble' -l previous -d 'mount the previous generation instead'
complete -c reclone -n '__reclone_at boot' -l root -x -a '(__fish_complete_directories)' -d 'where the distribution mounted the root file system'
complete -c reclone -n '__reclone_at install' -l over -x -d 'the serial number of a disk with data, to give that up'
complete -c reclone -n '__reclone_at install' -s n -l dry-run -d 'look at disk and store, and change nothing'
complete -c reclone -n '__reclone_at explain' -l builtin -d 'print the rules that hold without being asked'
complete -c reclone -n '__reclone_at diff restore' -l generation -x -a 'current previous' -d 'a number, `current` or `previous`'
complete -c reclone -n '__reclone_at diff restore' -l to -x -a '(__fish_complete_directories)' -d 'a folder that stands for the top of the tree'
complete -c reclone -n '__reclone_at diff restore' -l checksum -d 'read every file, whatever its time says'
complete -c reclone -n '__reclone_at diff' -l next -d 'tell what the next boot brings'
complete -c reclone -n '__reclone_at restore' -l in-place -d 'replace only what differs, one file at a time'
complete -c reclone -n '__reclone_at restore' -s n -l dry-run -d 'say what differs, and change nothing'
complete -c reclone -n '__reclone_at "session recover"' -l session -x -d 'the number of the session'
complete -c reclone -n '__reclone_at "session recover"' -l to -x -a '(__fish_complete_directories)' -d 'a folder to put them in'
complete -c reclone -n '__reclone_at "session drop"' -l all -d 'every one'
complete -c reclone -n '__reclone_at thaw' -l boots -x -d 'over how many boots'
complete -c reclone -n '__reclone_at verify' -l repair -d 'fetch what is damaged again'
complete -c reclone -n '__reclone_at good' -l force -d 'without the health checks'
complete -c reclone -n '__reclone_at status' -l check -d 'look into each initramfs that this machine can boot'
complete -c reclone -n '__reclone_at loader' -l first -d 'have the firmware (UEFI) start first what started this machine'
complete -c reclone -n '__reclone_at reset' -l forget -d 'remove what is kept, too'
complete -c reclone -n '__reclone_at prune' -l sessions -x -d 'how many ended sessions stay'
complete -c reclone -n '__reclone_at prune' -l sessions-space -x -d 'how much of the disk they may take'
complete -c reclone -n '__reclone_at loader' -l proven -d 'only if reclone started that kernel in this boot'
complete -c reclone -n '__reclone_at sync fetch status explain diff restore thaw freeze verify good loader rollback reset prune' -l json -d 'as one JSON object'
complete -c reclone -n '__reclone_at "session list" "session diff" "session recover" "session drop"' -l json -d 'as one JSON object'

# What follows the verb.
complete -c reclone -n '__reclone_at assemble' -a '(__fish_complete_directories)'
complete -c reclone -n '__reclone_at install explain diff restore "session recover"' -F
