"""What runs inside a sandbox on Modal: one request on stdin, one reply on stdout.

The folder is a layer of the image. Root runs it as `python3 -I -S -c START`, with Python 3.9 or later and the
standard library alone. A request is

    a line with the length of its header, the header (JSON), the bytes of files to put, the command's stdin

and is worked off in this order: put files, run a command, take files. Where the request says so, the end of
stdin that comes while the command runs is the end of its time. The reply is one frame

    GOAT <length of its header> <length of its body>, the header (JSON), the body, END

whose end shows that nothing of it was lost. A command runs as a user of its own, who may write to `WORKDIR`,
`OUTDIR` and the folders that are emptied after it. While files are put and taken, nothing of that user is
alive. What the user left may be hostile all the same: no link is followed, and only regular files with one
name come out.
"""
