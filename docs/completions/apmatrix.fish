# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_apmatrix_global_optspecs
    string join \n run-dir= h/help V/version
end

function __fish_apmatrix_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_apmatrix_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_apmatrix_using_subcommand
    set -l cmd (__fish_apmatrix_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c apmatrix -n "__fish_apmatrix_needs_command" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c apmatrix -n "__fish_apmatrix_needs_command" -s V -l version -d 'Print version'
complete -c apmatrix -n "__fish_apmatrix_needs_command" -f -a "demo" -d 'Show the main job: two guests, each with adapters of its own, do RSA'
complete -c apmatrix -n "__fish_apmatrix_needs_command" -f -a "serve" -d 'Run the daemon in the foreground; prints one line when it is ready'
complete -c apmatrix -n "__fish_apmatrix_needs_command" -f -a "run" -d 'Run a command that sees the tree at /sys, beside the host\'s other devices'
complete -c apmatrix -n "__fish_apmatrix_needs_command" -f -a "hmc" -d 'Hardware console: what a machine\'s operator does to the partition\'s AP hardware'
complete -c apmatrix -n "__fish_apmatrix_needs_command" -f -a "status" -d 'Show cards, queues, masks and mediated devices'
complete -c apmatrix -n "__fish_apmatrix_needs_command" -f -a "mdev" -d 'List, show, create and remove mediated devices'
complete -c apmatrix -n "__fish_apmatrix_needs_command" -f -a "assign" -d 'Give a mediated device adapters, usage domains or control domains'
complete -c apmatrix -n "__fish_apmatrix_needs_command" -f -a "unassign" -d 'Take adapters, usage domains or control domains from a mediated device'
complete -c apmatrix -n "__fish_apmatrix_needs_command" -f -a "mask" -d 'Show or change apmask and aqmask: which adapters and domains the host\'s own drivers keep'
complete -c apmatrix -n "__fish_apmatrix_needs_command" -f -a "log" -d 'Show what was refused last, and why'
complete -c apmatrix -n "__fish_apmatrix_needs_command" -f -a "why" -d 'Explain a queue or a mediated device: who holds it, what was refused, what would free it'
complete -c apmatrix -n "__fish_apmatrix_needs_command" -f -a "guest" -d 'Build the guest image; run an s390x Linux guest with a mediated device'
complete -c apmatrix -n "__fish_apmatrix_needs_command" -f -a "insn" -d 'Execute one AP instruction as the guest of a mediated device, for developers'
complete -c apmatrix -n "__fish_apmatrix_needs_command" -f -a "record" -d 'Record the AP traffic of a mediated device to a file, until Ctrl-C or until the device is gone'
complete -c apmatrix -n "__fish_apmatrix_needs_command" -f -a "dissect" -d 'Print a recording decoded, one line for each instruction'
complete -c apmatrix -n "__fish_apmatrix_needs_command" -f -a "rerun" -d 'Send the requests of a recording to a fresh machine and compare the replies'
complete -c apmatrix -n "__fish_apmatrix_needs_command" -f -a "replay" -d 'Replay transcripts recorded from the real driver, each case on a fresh machine'
complete -c apmatrix -n "__fish_apmatrix_needs_command" -f -a "bench" -d 'Measure, and print ratios against something else in the same run'
complete -c apmatrix -n "__fish_apmatrix_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand demo" -l guest -d 'embedded: in seconds, without root, FUSE or QEMU. linux: two s390x Linux guests in QEMU' -r -f -a "embedded\t''
linux\t''"
complete -c apmatrix -n "__fish_apmatrix_using_subcommand demo" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand demo" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand serve" -l machine -d 'The hardware that a new state begins with [default: three accelerators, four domains]; with an existing state it must be the file that the state began with, and may be left out' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand serve" -l state-dir -d 'Where state is kept [default: $APMATRIX_STATE_DIR, /var/lib/apmatrix, or ~/.local/state/apmatrix for users]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand serve" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand serve" -l fresh -d 'Begin a new state; the old one is put aside as STATE/journal.old-N'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand serve" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand run" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and not __fish_seen_subcommand_from show set add-adapter remove-adapter add-domain remove-domain configure deconfigure checkstop recover inject faults scenario clear ipl help" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and not __fish_seen_subcommand_from show set add-adapter remove-adapter add-domain remove-domain configure deconfigure checkstop recover inject faults scenario clear ipl help" -s h -l help -d 'Print help'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and not __fish_seen_subcommand_from show set add-adapter remove-adapter add-domain remove-domain configure deconfigure checkstop recover inject faults scenario clear ipl help" -f -a "show" -d 'Show adapters, domains and how many requests reached each card'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and not __fish_seen_subcommand_from show set add-adapter remove-adapter add-domain remove-domain configure deconfigure checkstop recover inject faults scenario clear ipl help" -f -a "set" -d 'Replace the whole configuration, e.g. \'card 5 14 A; card 6 14 P; dom 4; cdom 4\''
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and not __fish_seen_subcommand_from show set add-adapter remove-adapter add-domain remove-domain configure deconfigure checkstop recover inject faults scenario clear ipl help" -f -a "add-adapter" -d 'Plug an adapter in'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and not __fish_seen_subcommand_from show set add-adapter remove-adapter add-domain remove-domain configure deconfigure checkstop recover inject faults scenario clear ipl help" -f -a "remove-adapter" -d 'Take an adapter out'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and not __fish_seen_subcommand_from show set add-adapter remove-adapter add-domain remove-domain configure deconfigure checkstop recover inject faults scenario clear ipl help" -f -a "add-domain" -d 'Give the partition a usage domain, also as control domain'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and not __fish_seen_subcommand_from show set add-adapter remove-adapter add-domain remove-domain configure deconfigure checkstop recover inject faults scenario clear ipl help" -f -a "remove-domain" -d 'Take a domain away'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and not __fish_seen_subcommand_from show set add-adapter remove-adapter add-domain remove-domain configure deconfigure checkstop recover inject faults scenario clear ipl help" -f -a "configure" -d 'Configure an adapter'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and not __fish_seen_subcommand_from show set add-adapter remove-adapter add-domain remove-domain configure deconfigure checkstop recover inject faults scenario clear ipl help" -f -a "deconfigure" -d 'Deconfigure an adapter: its queues answer response code 03'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and not __fish_seen_subcommand_from show set add-adapter remove-adapter add-domain remove-domain configure deconfigure checkstop recover inject faults scenario clear ipl help" -f -a "checkstop" -d 'Check-stop an adapter: its queues answer response code 04'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and not __fish_seen_subcommand_from show set add-adapter remove-adapter add-domain remove-domain configure deconfigure checkstop recover inject faults scenario clear ipl help" -f -a "recover" -d 'End an adapter\'s check-stop'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and not __fish_seen_subcommand_from show set add-adapter remove-adapter add-domain remove-domain configure deconfigure checkstop recover inject faults scenario clear ipl help" -f -a "inject" -d 'Make a queue misbehave, e.g. \'05.0004 rc nqap 01 once\''
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and not __fish_seen_subcommand_from show set add-adapter remove-adapter add-domain remove-domain configure deconfigure checkstop recover inject faults scenario clear ipl help" -f -a "faults" -d 'List the faults that are not over'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and not __fish_seen_subcommand_from show set add-adapter remove-adapter add-domain remove-domain configure deconfigure checkstop recover inject faults scenario clear ipl help" -f -a "scenario" -d 'Replay a file of faults with times'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and not __fish_seen_subcommand_from show set add-adapter remove-adapter add-domain remove-domain configure deconfigure checkstop recover inject faults scenario clear ipl help" -f -a "clear" -d 'End faults'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and not __fish_seen_subcommand_from show set add-adapter remove-adapter add-domain remove-domain configure deconfigure checkstop recover inject faults scenario clear ipl help" -f -a "ipl" -d 'Boot the partition anew: guests are disconnected, mediated devices are gone, masks and settings are those of the machine file; the hardware stays as it is now'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and not __fish_seen_subcommand_from show set add-adapter remove-adapter add-domain remove-domain configure deconfigure checkstop recover inject faults scenario clear ipl help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from show" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from show" -l json -d 'As JSON'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from set" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from set" -s h -l help -d 'Print help'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from add-adapter" -l type -d 'AP type: 10 (CEX4) to 14 (CEX8)' -r
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from add-adapter" -l mode -d 'A (accelerator), C (CCA coprocessor) or P (EP11 coprocessor)' -r
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from add-adapter" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from add-adapter" -s h -l help -d 'Print help'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from remove-adapter" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from remove-adapter" -s h -l help -d 'Print help'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from add-domain" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from add-domain" -s h -l help -d 'Print help'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from remove-domain" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from remove-domain" -s h -l help -d 'Print help'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from configure" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from configure" -s h -l help -d 'Print help'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from deconfigure" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from deconfigure" -s h -l help -d 'Print help'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from checkstop" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from checkstop" -s h -l help -d 'Print help'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from recover" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from recover" -s h -l help -d 'Print help'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from inject" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from inject" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from faults" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from faults" -l json -d 'As JSON'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from faults" -s h -l help -d 'Print help'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from scenario" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from scenario" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from clear" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from clear" -s h -l help -d 'Print help'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from ipl" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from ipl" -s h -l help -d 'Print help'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from help" -f -a "show" -d 'Show adapters, domains and how many requests reached each card'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from help" -f -a "set" -d 'Replace the whole configuration, e.g. \'card 5 14 A; card 6 14 P; dom 4; cdom 4\''
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from help" -f -a "add-adapter" -d 'Plug an adapter in'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from help" -f -a "remove-adapter" -d 'Take an adapter out'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from help" -f -a "add-domain" -d 'Give the partition a usage domain, also as control domain'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from help" -f -a "remove-domain" -d 'Take a domain away'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from help" -f -a "configure" -d 'Configure an adapter'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from help" -f -a "deconfigure" -d 'Deconfigure an adapter: its queues answer response code 03'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from help" -f -a "checkstop" -d 'Check-stop an adapter: its queues answer response code 04'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from help" -f -a "recover" -d 'End an adapter\'s check-stop'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from help" -f -a "inject" -d 'Make a queue misbehave, e.g. \'05.0004 rc nqap 01 once\''
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from help" -f -a "faults" -d 'List the faults that are not over'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from help" -f -a "scenario" -d 'Replay a file of faults with times'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from help" -f -a "clear" -d 'End faults'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from help" -f -a "ipl" -d 'Boot the partition anew: guests are disconnected, mediated devices are gone, masks and settings are those of the machine file; the hardware stays as it is now'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand hmc; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand status" -l sysfs -d 'The sysfs tree: a mounted one, a plain copy, or a mainframe\'s /sys [default: the running instance\'s, else /sys]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand status" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand status" -l json -d 'As JSON'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand status" -s h -l help -d 'Print help'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand mdev; and not __fish_seen_subcommand_from ls show create remove help" -l sysfs -d 'The sysfs tree: a mounted one, a plain copy, or a mainframe\'s /sys [default: the running instance\'s, else /sys]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand mdev; and not __fish_seen_subcommand_from ls show create remove help" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand mdev; and not __fish_seen_subcommand_from ls show create remove help" -s h -l help -d 'Print help'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand mdev; and not __fish_seen_subcommand_from ls show create remove help" -f -a "ls" -d 'List the mediated devices'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand mdev; and not __fish_seen_subcommand_from ls show create remove help" -f -a "show" -d 'Show one mediated device'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand mdev; and not __fish_seen_subcommand_from ls show create remove help" -f -a "create" -d 'Create a mediated device and print its UUID'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand mdev; and not __fish_seen_subcommand_from ls show create remove help" -f -a "remove" -d 'Remove a mediated device; waits while a guest holds it'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand mdev; and not __fish_seen_subcommand_from ls show create remove help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand mdev; and __fish_seen_subcommand_from ls" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand mdev; and __fish_seen_subcommand_from ls" -l json -d 'As JSON'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand mdev; and __fish_seen_subcommand_from ls" -s h -l help -d 'Print help'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand mdev; and __fish_seen_subcommand_from show" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand mdev; and __fish_seen_subcommand_from show" -l json -d 'As JSON'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand mdev; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand mdev; and __fish_seen_subcommand_from create" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand mdev; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand mdev; and __fish_seen_subcommand_from remove" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand mdev; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand mdev; and __fish_seen_subcommand_from help" -f -a "ls" -d 'List the mediated devices'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand mdev; and __fish_seen_subcommand_from help" -f -a "show" -d 'Show one mediated device'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand mdev; and __fish_seen_subcommand_from help" -f -a "create" -d 'Create a mediated device and print its UUID'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand mdev; and __fish_seen_subcommand_from help" -f -a "remove" -d 'Remove a mediated device; waits while a guest holds it'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand mdev; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand assign" -l sysfs -d 'The sysfs tree: a mounted one, a plain copy, or a mainframe\'s /sys [default: the running instance\'s, else /sys]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand assign" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand assign" -s h -l help -d 'Print help'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand unassign" -l sysfs -d 'The sysfs tree: a mounted one, a plain copy, or a mainframe\'s /sys [default: the running instance\'s, else /sys]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand unassign" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand unassign" -s h -l help -d 'Print help'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand mask" -l sysfs -d 'The sysfs tree: a mounted one, a plain copy, or a mainframe\'s /sys [default: the running instance\'s, else /sys]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand mask" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand mask" -l json -d 'As JSON'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand mask" -s h -l help -d 'Print help'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand log" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand log" -l json -d 'As JSON'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand log" -s h -l help -d 'Print help'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand why" -l sysfs -d 'The sysfs tree: a mounted one, a plain copy, or a mainframe\'s /sys [default: the running instance\'s, else /sys]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand why" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand why" -l json -d 'As JSON'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand why" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand guest; and not __fish_seen_subcommand_from image run packages help" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand guest; and not __fish_seen_subcommand_from image run packages help" -s h -l help -d 'Print help'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand guest; and not __fish_seen_subcommand_from image run packages help" -f -a "image" -d 'Build the guest image from Debian packages, without root: QEMU, a kernel, a small initramfs'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand guest; and not __fish_seen_subcommand_from image run packages help" -f -a "run" -d 'Run a guest; its console is on standard input and output, QEMU\'s messages on standard error'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand guest; and not __fish_seen_subcommand_from image run packages help" -f -a "packages" -d 'Unpack Debian packages as a root of their own, for tests with real tools'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand guest; and not __fish_seen_subcommand_from image run packages help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand guest; and __fish_seen_subcommand_from image" -l out -d 'Where to keep it [default: $APMATRIX_IMAGE_DIR or ~/.cache/apmatrix/image]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand guest; and __fish_seen_subcommand_from image" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand guest; and __fish_seen_subcommand_from image" -s h -l help -d 'Print help'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand guest; and __fish_seen_subcommand_from run" -l mdev -d 'The mediated device that the guest gets' -r
complete -c apmatrix -n "__fish_apmatrix_using_subcommand guest; and __fish_seen_subcommand_from run" -l image -d 'The image\'s directory' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand guest; and __fish_seen_subcommand_from run" -l kernel -d 'Another kernel than the image\'s' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand guest; and __fish_seen_subcommand_from run" -l initrd -d 'Another initramfs than the image\'s' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand guest; and __fish_seen_subcommand_from run" -l append -d 'More words for the kernel\'s command line' -r
complete -c apmatrix -n "__fish_apmatrix_using_subcommand guest; and __fish_seen_subcommand_from run" -l cpu-features -d 'AP features of the guest\'s CPU, by QEMU\'s names' -r
complete -c apmatrix -n "__fish_apmatrix_using_subcommand guest; and __fish_seen_subcommand_from run" -l cpus -d 'Virtual CPUs' -r
complete -c apmatrix -n "__fish_apmatrix_using_subcommand guest; and __fish_seen_subcommand_from run" -l memory -d 'Memory in MiB' -r
complete -c apmatrix -n "__fish_apmatrix_using_subcommand guest; and __fish_seen_subcommand_from run" -l plugin -d 'The QEMU plugin [default: beside this program, or in the installed library folder]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand guest; and __fish_seen_subcommand_from run" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand guest; and __fish_seen_subcommand_from run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand guest; and __fish_seen_subcommand_from packages" -l out -d 'A link to the root; finished roots are kept beside it' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand guest; and __fish_seen_subcommand_from packages" -l suite -d 'Debian\'s release' -r
complete -c apmatrix -n "__fish_apmatrix_using_subcommand guest; and __fish_seen_subcommand_from packages" -l arch -d 'Debian\'s name of an architecture [default: the host\'s]' -r
complete -c apmatrix -n "__fish_apmatrix_using_subcommand guest; and __fish_seen_subcommand_from packages" -l alone -d 'A package without what it needs' -r
complete -c apmatrix -n "__fish_apmatrix_using_subcommand guest; and __fish_seen_subcommand_from packages" -l skip -d 'A package that is not wanted although something needs it' -r
complete -c apmatrix -n "__fish_apmatrix_using_subcommand guest; and __fish_seen_subcommand_from packages" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand guest; and __fish_seen_subcommand_from packages" -s h -l help -d 'Print help'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand guest; and __fish_seen_subcommand_from help" -f -a "image" -d 'Build the guest image from Debian packages, without root: QEMU, a kernel, a small initramfs'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand guest; and __fish_seen_subcommand_from help" -f -a "run" -d 'Run a guest; its console is on standard input and output, QEMU\'s messages on standard error'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand guest; and __fish_seen_subcommand_from help" -f -a "packages" -d 'Unpack Debian packages as a root of their own, for tests with real tools'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand guest; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand insn; and not __fish_seen_subcommand_from tapq qci nqap dqap rapq zapq help" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand insn; and not __fish_seen_subcommand_from tapq qci nqap dqap rapq zapq help" -s h -l help -d 'Print help'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand insn; and not __fish_seen_subcommand_from tapq qci nqap dqap rapq zapq help" -a "tapq" -d 'Test queue (with the T bit)'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand insn; and not __fish_seen_subcommand_from tapq qci nqap dqap rapq zapq help" -a "qci" -d 'Query configuration information'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand insn; and not __fish_seen_subcommand_from tapq qci nqap dqap rapq zapq help" -a "nqap" -d 'Enqueue a message'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand insn; and not __fish_seen_subcommand_from tapq qci nqap dqap rapq zapq help" -a "dqap" -d 'Dequeue a reply, printed in hex'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand insn; and not __fish_seen_subcommand_from tapq qci nqap dqap rapq zapq help" -a "rapq" -d 'Reset queue'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand insn; and not __fish_seen_subcommand_from tapq qci nqap dqap rapq zapq help" -a "zapq" -d 'Reset and zeroize queue'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand insn; and not __fish_seen_subcommand_from tapq qci nqap dqap rapq zapq help" -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand insn; and __fish_seen_subcommand_from tapq" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand insn; and __fish_seen_subcommand_from tapq" -s h -l help -d 'Print help'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand insn; and __fish_seen_subcommand_from qci" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand insn; and __fish_seen_subcommand_from qci" -s h -l help -d 'Print help'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand insn; and __fish_seen_subcommand_from nqap" -l psmid -d 'Message identifier' -r
complete -c apmatrix -n "__fish_apmatrix_using_subcommand insn; and __fish_seen_subcommand_from nqap" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand insn; and __fish_seen_subcommand_from nqap" -l special -d 'Set the special command bit'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand insn; and __fish_seen_subcommand_from nqap" -s h -l help -d 'Print help'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand insn; and __fish_seen_subcommand_from dqap" -l out -d 'Where the reply is stored instead' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand insn; and __fish_seen_subcommand_from dqap" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand insn; and __fish_seen_subcommand_from dqap" -s h -l help -d 'Print help'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand insn; and __fish_seen_subcommand_from rapq" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand insn; and __fish_seen_subcommand_from rapq" -s h -l help -d 'Print help'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand insn; and __fish_seen_subcommand_from zapq" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand insn; and __fish_seen_subcommand_from zapq" -s h -l help -d 'Print help'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand insn; and __fish_seen_subcommand_from help" -f -a "tapq" -d 'Test queue (with the T bit)'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand insn; and __fish_seen_subcommand_from help" -f -a "qci" -d 'Query configuration information'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand insn; and __fish_seen_subcommand_from help" -f -a "nqap" -d 'Enqueue a message'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand insn; and __fish_seen_subcommand_from help" -f -a "dqap" -d 'Dequeue a reply, printed in hex'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand insn; and __fish_seen_subcommand_from help" -f -a "rapq" -d 'Reset queue'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand insn; and __fish_seen_subcommand_from help" -f -a "zapq" -d 'Reset and zeroize queue'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand insn; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand record" -s o -l out -d 'The file, readable by its owner alone; - is standard output [default: UUID.pcapng]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand record" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand record" -l secrets -d 'Record operands, keys and results too'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand record" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand dissect" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand dissect" -s v -l verbose -d 'The bytes of the messages too'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand dissect" -l json -d 'One JSON object for each instruction'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand dissect" -s h -l help -d 'Print help'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand rerun" -l machine -d 'Another machine, as for hmc set' -r
complete -c apmatrix -n "__fish_apmatrix_using_subcommand rerun" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand rerun" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand replay" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand replay" -l in-process -d 'Without FUSE: ask the tree in memory'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand replay" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand bench; and not __fish_seen_subcommand_from admin data-path guest-rsa latency help" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand bench; and not __fish_seen_subcommand_from admin data-path guest-rsa latency help" -s h -l help -d 'Print help'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand bench; and not __fish_seen_subcommand_from admin data-path guest-rsa latency help" -f -a "admin" -d 'Attributes through a mounted tree, 10,000 mediated devices, memory of an idle daemon; exits 1 when a goal is missed'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand bench; and not __fish_seen_subcommand_from admin data-path guest-rsa latency help" -f -a "data-path" -d 'Requests from guests to cards: RSA in process, in guests and against OpenSSL, round trips, shares of many guests, memory of each; exits 1 when a goal is missed'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand bench; and not __fish_seen_subcommand_from admin data-path guest-rsa latency help" -f -a "guest-rsa" -d 'RSA-2048 CRT per second in a Linux guest, through the accelerator and by its own software'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand bench; and not __fish_seen_subcommand_from admin data-path guest-rsa latency help" -f -a "latency" -d 'How long a request takes in a Linux guest that polls, and in one with adapter interruptions'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand bench; and not __fish_seen_subcommand_from admin data-path guest-rsa latency help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand bench; and __fish_seen_subcommand_from admin" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand bench; and __fish_seen_subcommand_from admin" -l smoke -d 'Small numbers, only to see that it works; goals are not judged'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand bench; and __fish_seen_subcommand_from admin" -s h -l help -d 'Print help'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand bench; and __fish_seen_subcommand_from data-path" -l only -d 'Measure this part only; may be given several times' -r -f -a "in-process\t'RSA in this process, against OpenSSL on the same core'
round-trip\t'A request without cryptography between two processes'
shares\t'A guest beside a flood, many guests beside one'
attached\t'The daemon\'s memory for each guest'
linux\t'Linux guests'"
complete -c apmatrix -n "__fish_apmatrix_using_subcommand bench; and __fish_seen_subcommand_from data-path" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand bench; and __fish_seen_subcommand_from data-path" -l smoke -d 'Small numbers and no Linux guest, only to see that it works; goals are not judged'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand bench; and __fish_seen_subcommand_from data-path" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand bench; and __fish_seen_subcommand_from guest-rsa" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand bench; and __fish_seen_subcommand_from guest-rsa" -s h -l help -d 'Print help'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand bench; and __fish_seen_subcommand_from latency" -l run-dir -d 'Directory of the instance [default: $APMATRIX_RUN_DIR, $XDG_RUNTIME_DIR/apmatrix or /run/apmatrix]' -r -F
complete -c apmatrix -n "__fish_apmatrix_using_subcommand bench; and __fish_seen_subcommand_from latency" -s h -l help -d 'Print help'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand bench; and __fish_seen_subcommand_from help" -f -a "admin" -d 'Attributes through a mounted tree, 10,000 mediated devices, memory of an idle daemon; exits 1 when a goal is missed'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand bench; and __fish_seen_subcommand_from help" -f -a "data-path" -d 'Requests from guests to cards: RSA in process, in guests and against OpenSSL, round trips, shares of many guests, memory of each; exits 1 when a goal is missed'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand bench; and __fish_seen_subcommand_from help" -f -a "guest-rsa" -d 'RSA-2048 CRT per second in a Linux guest, through the accelerator and by its own software'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand bench; and __fish_seen_subcommand_from help" -f -a "latency" -d 'How long a request takes in a Linux guest that polls, and in one with adapter interruptions'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand bench; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and not __fish_seen_subcommand_from demo serve run hmc status mdev assign unassign mask log why guest insn record dissect rerun replay bench help" -f -a "demo" -d 'Show the main job: two guests, each with adapters of its own, do RSA'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and not __fish_seen_subcommand_from demo serve run hmc status mdev assign unassign mask log why guest insn record dissect rerun replay bench help" -f -a "serve" -d 'Run the daemon in the foreground; prints one line when it is ready'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and not __fish_seen_subcommand_from demo serve run hmc status mdev assign unassign mask log why guest insn record dissect rerun replay bench help" -f -a "run" -d 'Run a command that sees the tree at /sys, beside the host\'s other devices'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and not __fish_seen_subcommand_from demo serve run hmc status mdev assign unassign mask log why guest insn record dissect rerun replay bench help" -f -a "hmc" -d 'Hardware console: what a machine\'s operator does to the partition\'s AP hardware'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and not __fish_seen_subcommand_from demo serve run hmc status mdev assign unassign mask log why guest insn record dissect rerun replay bench help" -f -a "status" -d 'Show cards, queues, masks and mediated devices'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and not __fish_seen_subcommand_from demo serve run hmc status mdev assign unassign mask log why guest insn record dissect rerun replay bench help" -f -a "mdev" -d 'List, show, create and remove mediated devices'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and not __fish_seen_subcommand_from demo serve run hmc status mdev assign unassign mask log why guest insn record dissect rerun replay bench help" -f -a "assign" -d 'Give a mediated device adapters, usage domains or control domains'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and not __fish_seen_subcommand_from demo serve run hmc status mdev assign unassign mask log why guest insn record dissect rerun replay bench help" -f -a "unassign" -d 'Take adapters, usage domains or control domains from a mediated device'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and not __fish_seen_subcommand_from demo serve run hmc status mdev assign unassign mask log why guest insn record dissect rerun replay bench help" -f -a "mask" -d 'Show or change apmask and aqmask: which adapters and domains the host\'s own drivers keep'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and not __fish_seen_subcommand_from demo serve run hmc status mdev assign unassign mask log why guest insn record dissect rerun replay bench help" -f -a "log" -d 'Show what was refused last, and why'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and not __fish_seen_subcommand_from demo serve run hmc status mdev assign unassign mask log why guest insn record dissect rerun replay bench help" -f -a "why" -d 'Explain a queue or a mediated device: who holds it, what was refused, what would free it'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and not __fish_seen_subcommand_from demo serve run hmc status mdev assign unassign mask log why guest insn record dissect rerun replay bench help" -f -a "guest" -d 'Build the guest image; run an s390x Linux guest with a mediated device'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and not __fish_seen_subcommand_from demo serve run hmc status mdev assign unassign mask log why guest insn record dissect rerun replay bench help" -f -a "insn" -d 'Execute one AP instruction as the guest of a mediated device, for developers'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and not __fish_seen_subcommand_from demo serve run hmc status mdev assign unassign mask log why guest insn record dissect rerun replay bench help" -f -a "record" -d 'Record the AP traffic of a mediated device to a file, until Ctrl-C or until the device is gone'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and not __fish_seen_subcommand_from demo serve run hmc status mdev assign unassign mask log why guest insn record dissect rerun replay bench help" -f -a "dissect" -d 'Print a recording decoded, one line for each instruction'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and not __fish_seen_subcommand_from demo serve run hmc status mdev assign unassign mask log why guest insn record dissect rerun replay bench help" -f -a "rerun" -d 'Send the requests of a recording to a fresh machine and compare the replies'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and not __fish_seen_subcommand_from demo serve run hmc status mdev assign unassign mask log why guest insn record dissect rerun replay bench help" -f -a "replay" -d 'Replay transcripts recorded from the real driver, each case on a fresh machine'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and not __fish_seen_subcommand_from demo serve run hmc status mdev assign unassign mask log why guest insn record dissect rerun replay bench help" -f -a "bench" -d 'Measure, and print ratios against something else in the same run'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and not __fish_seen_subcommand_from demo serve run hmc status mdev assign unassign mask log why guest insn record dissect rerun replay bench help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and __fish_seen_subcommand_from hmc" -f -a "show" -d 'Show adapters, domains and how many requests reached each card'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and __fish_seen_subcommand_from hmc" -f -a "set" -d 'Replace the whole configuration, e.g. \'card 5 14 A; card 6 14 P; dom 4; cdom 4\''
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and __fish_seen_subcommand_from hmc" -f -a "add-adapter" -d 'Plug an adapter in'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and __fish_seen_subcommand_from hmc" -f -a "remove-adapter" -d 'Take an adapter out'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and __fish_seen_subcommand_from hmc" -f -a "add-domain" -d 'Give the partition a usage domain, also as control domain'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and __fish_seen_subcommand_from hmc" -f -a "remove-domain" -d 'Take a domain away'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and __fish_seen_subcommand_from hmc" -f -a "configure" -d 'Configure an adapter'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and __fish_seen_subcommand_from hmc" -f -a "deconfigure" -d 'Deconfigure an adapter: its queues answer response code 03'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and __fish_seen_subcommand_from hmc" -f -a "checkstop" -d 'Check-stop an adapter: its queues answer response code 04'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and __fish_seen_subcommand_from hmc" -f -a "recover" -d 'End an adapter\'s check-stop'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and __fish_seen_subcommand_from hmc" -f -a "inject" -d 'Make a queue misbehave, e.g. \'05.0004 rc nqap 01 once\''
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and __fish_seen_subcommand_from hmc" -f -a "faults" -d 'List the faults that are not over'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and __fish_seen_subcommand_from hmc" -f -a "scenario" -d 'Replay a file of faults with times'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and __fish_seen_subcommand_from hmc" -f -a "clear" -d 'End faults'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and __fish_seen_subcommand_from hmc" -f -a "ipl" -d 'Boot the partition anew: guests are disconnected, mediated devices are gone, masks and settings are those of the machine file; the hardware stays as it is now'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and __fish_seen_subcommand_from mdev" -f -a "ls" -d 'List the mediated devices'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and __fish_seen_subcommand_from mdev" -f -a "show" -d 'Show one mediated device'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and __fish_seen_subcommand_from mdev" -f -a "create" -d 'Create a mediated device and print its UUID'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and __fish_seen_subcommand_from mdev" -f -a "remove" -d 'Remove a mediated device; waits while a guest holds it'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and __fish_seen_subcommand_from guest" -f -a "image" -d 'Build the guest image from Debian packages, without root: QEMU, a kernel, a small initramfs'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and __fish_seen_subcommand_from guest" -f -a "run" -d 'Run a guest; its console is on standard input and output, QEMU\'s messages on standard error'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and __fish_seen_subcommand_from guest" -f -a "packages" -d 'Unpack Debian packages as a root of their own, for tests with real tools'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and __fish_seen_subcommand_from insn" -f -a "tapq" -d 'Test queue (with the T bit)'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and __fish_seen_subcommand_from insn" -f -a "qci" -d 'Query configuration information'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and __fish_seen_subcommand_from insn" -f -a "nqap" -d 'Enqueue a message'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and __fish_seen_subcommand_from insn" -f -a "dqap" -d 'Dequeue a reply, printed in hex'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and __fish_seen_subcommand_from insn" -f -a "rapq" -d 'Reset queue'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and __fish_seen_subcommand_from insn" -f -a "zapq" -d 'Reset and zeroize queue'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and __fish_seen_subcommand_from bench" -f -a "admin" -d 'Attributes through a mounted tree, 10,000 mediated devices, memory of an idle daemon; exits 1 when a goal is missed'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and __fish_seen_subcommand_from bench" -f -a "data-path" -d 'Requests from guests to cards: RSA in process, in guests and against OpenSSL, round trips, shares of many guests, memory of each; exits 1 when a goal is missed'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and __fish_seen_subcommand_from bench" -f -a "guest-rsa" -d 'RSA-2048 CRT per second in a Linux guest, through the accelerator and by its own software'
complete -c apmatrix -n "__fish_apmatrix_using_subcommand help; and __fish_seen_subcommand_from bench" -f -a "latency" -d 'How long a request takes in a Linux guest that polls, and in one with adapter interruptions'
