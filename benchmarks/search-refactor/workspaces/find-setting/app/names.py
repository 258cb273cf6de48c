"""Names of settings that are used under another name."""

LIMITS = {
    "file": "upload" + ".max_bytes",
    "count": "upload.max_files",
    "picture": "avatar.max_bytes",
}
