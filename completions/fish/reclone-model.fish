# fish completion of reclone-model. agent/tests/completions.rs holds it against the help.

# Whether the words so far say one of these verbs; '' stands for none yet.
function __reclone_model_at
    set -l words (commandline -opc)
    set -e words[1]
    # No option before the verb takes a value.
    set words (string match -v -- '-*' $words)
    contains -- "$words[1]" $argv
end

complete -c reclone-model -f
complete -c reclone-model -l help -d 'display usage information'

complete -c reclone-model -n '__reclone_model_at ""' -l version -d 'print the version'
complete -c reclone-model -n '__reclone_model_at ""' -s q -l quiet -d 'say less: only warnings and errors'
complete -c reclone-model -n '__reclone_model_at ""' -a setup -d 'Make this machine a model'
complete -c reclone-model -n '__reclone_model_at ""' -a init -d 'Make a store and, unless it exists, the key pair that signs it'
complete -c reclone-model -n '__reclone_model_at ""' -a publish -d 'Publish a tree as the next generation'
complete -c reclone-model -n '__reclone_model_at ""' -a lint -d 'Name what a publish of a tree would take along and perhaps should not'
complete -c reclone-model -n '__reclone_model_at ""' -a list -d 'List the generations of a store, oldest first'
complete -c reclone-model -n '__reclone_model_at ""' -a show -d 'Show what a store knows about one generation'
complete -c reclone-model -n '__reclone_model_at ""' -a delta -d 'Make the delta packs to the newest generation that the store does not have yet'
complete -c reclone-model -n '__reclone_model_at ""' -a verify -d 'Check the whole store'
complete -c reclone-model -n '__reclone_model_at ""' -a prune -d 'Forget old generations and remove the packs that only they need'
complete -c reclone-model -n '__reclone_model_at ""' -a export -d 'Copy what clones need of a store to a folder'
complete -c reclone-model -n '__reclone_model_at ""' -a netboot -d 'Make kernel, initramfs and an iPXE script'
complete -c reclone-model -n '__reclone_model_at ""' -a serve -d 'Serve a store over HTTP or HTTPS'

complete -c reclone-model -n '__reclone_model_at setup netboot' -l store -x -a '(__fish_complete_directories)' -d 'folder of the store'
complete -c reclone-model -n '__reclone_model_at setup init publish delta' -l key -r -F -d 'secret key'
complete -c reclone-model -n '__reclone_model_at setup' -l from -x -a '(__fish_complete_directories)' -d 'top of the tree that will be published'
complete -c reclone-model -n '__reclone_model_at setup init' -l model -x -d 'name of the model'
complete -c reclone-model -n '__reclone_model_at setup netboot' -l url -x -d 'where clones will find the store'
complete -c reclone-model -n '__reclone_model_at setup netboot' -l port -x -d 'port of the server'
complete -c reclone-model -n '__reclone_model_at setup' -l serve-unit -d 'have systemd start `reclone-model serve`'
complete -c reclone-model -n '__reclone_model_at setup' -l dry-run -d 'say what would be made, and make nothing'

complete -c reclone-model -n '__reclone_model_at init' -l passphrase -d 'protect a new secret key with a passphrase'
complete -c reclone-model -n '__reclone_model_at init' -l passphrase-file -r -F -d 'protect a new secret key with the first line of this file'

complete -c reclone-model -n '__reclone_model_at publish lint' -l from -x -a '(__fish_complete_directories)' -d 'top of the tree'
complete -c reclone-model -n '__reclone_model_at publish delta' -l passphrase-file -r -F -d 'first line of this file is the passphrase of the key'
complete -c reclone-model -n '__reclone_model_at publish' -l model -x -d 'give the model another name'
complete -c reclone-model -n '__reclone_model_at publish' -l cross -x -a '(__fish_complete_directories)' -d 'also publish what is mounted at PATH'
complete -c reclone-model -n '__reclone_model_at publish' -l all-file-systems -d 'also publish every other file system mounted in the tree'
complete -c reclone-model -n '__reclone_model_at publish' -l allow-changing -d 'publish files that keep changing as they were read last'
complete -c reclone-model -n '__reclone_model_at publish' -l rehash -d 'read every file, whatever is known of the last publish'
complete -c reclone-model -n '__reclone_model_at publish' -l full -d 'pack everything again'
complete -c reclone-model -n '__reclone_model_at publish' -l level -x -d 'zstd level'
complete -c reclone-model -n '__reclone_model_at publish' -l again -x -d 'publish the tree of an older generation once more'
complete -c reclone-model -n '__reclone_model_at publish' -l delta-from -x -d 'also make a delta pack for clones that have generation N'
complete -c reclone-model -n '__reclone_model_at publish' -l no-delta -d 'make no delta pack'
complete -c reclone-model -n '__reclone_model_at publish' -l effort -x -a 'low normal high' -d 'how hard to look for small delta packs'
complete -c reclone-model -n '__reclone_model_at delta' -l effort -x -a 'low normal high' -d 'how hard to look for small ones'
complete -c reclone-model -n '__reclone_model_at publish' -l dry-run -d 'say what would be published, and publish nothing'

complete -c reclone-model -n '__reclone_model_at lint' -l cross -x -a '(__fish_complete_directories)' -d 'also look at what is mounted at PATH'
complete -c reclone-model -n '__reclone_model_at lint list show' -l json -d 'print JSON'
complete -c reclone-model -n '__reclone_model_at show' -l files -d 'list its paths'
complete -c reclone-model -n '__reclone_model_at delta' -l from -x -d 'from generation N'
complete -c reclone-model -n '__reclone_model_at verify' -l key -r -F -d 'public key that the heads must be signed by'
complete -c reclone-model -n '__reclone_model_at prune' -l keep -x -d 'how many of the newest generations to keep'
complete -c reclone-model -n '__reclone_model_at prune' -l dry-run -d 'say what would be removed, and remove nothing'
complete -c reclone-model -n '__reclone_model_at export' -l to -x -a '(__fish_complete_directories)' -d 'folder to copy to'
complete -c reclone-model -n '__reclone_model_at export' -l generations -x -d 'how many of the newest generations to copy'
complete -c reclone-model -n '__reclone_model_at export' -l verify -d 'read what was copied before, too, and copy anew what has rotted'
complete -c reclone-model -n '__reclone_model_at netboot' -l disk -r -F -d 'disk of the machines'
complete -c reclone-model -n '__reclone_model_at netboot' -l kernel -x -d 'release of the kernel'
complete -c reclone-model -n '__reclone_model_at serve' -l listen -x -d 'address and port'
complete -c reclone-model -n '__reclone_model_at serve' -l tls-cert -r -F -d 'PEM file of the certificate chain'
complete -c reclone-model -n '__reclone_model_at serve' -l tls-key -r -F -d "PEM file of the certificate's key"
complete -c reclone-model -n '__reclone_model_at serve' -l token-file -r -F -d 'first line of this file is the token that clones must send'

# What follows the verb.
complete -c reclone-model -n '__reclone_model_at init publish list show delta verify prune export netboot serve' -a '(__fish_complete_directories)'
