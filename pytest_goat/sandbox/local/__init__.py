"""Sandboxes on this machine, made by a launcher of our own from what the kernel offers everybody.

No root, no package, no other program is needed. What runs where:

    the harness        backend -> sandbox        asks, over `wire`; puts and takes files itself (`collector`)
    the launcher       zygote, mounts            one process tree for each harness; dies with it
    of each sandbox    init, with its cell       runs commands one at a time, and ends what they leave behind
    the commands       confined, see below

Three kinds of isolation, tried in this order (`engines`) and proved by trying to break out (`canary`):

* `ns`: own users, processes, mounts, network and IPC. The host's files, processes and network are not there;
  one port answers.
* `landlock`: where namespaces are forbidden. Files and TCP ports are closed by the kernel, other sockets by a
  filter. The disk has no quota, and the port of the gateway can be reached on any host.
* `none`: a folder, limits, and the end of the whole tree; for those who ask for it.

None is a virtual machine. They are for mistakes of models and for reward hacking; a bug of the kernel crosses
them, and a program that is out for that belongs on another machine. Without a control group, memory that only
descriptors or unmapped shared mappings hold is not counted.
"""
