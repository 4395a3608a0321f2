# Functions that change a copy of a file of the distribution's kernel source at anchors; to be sourced. An anchor is a
# complete line of that file. Callers name only anchors, so this repository contains no other kernel text. Each anchor
# must occur exactly once: so a changed kernel source fails the build and not a scenario.
# FILE is the file that is changed.

# anchored LINE: exits with an error unless the line occurs exactly once.
anchored() {
	matches=$(grep -cxF -e "$1" "$FILE" || :)
	[ "$matches" -eq 1 ] && return
	echo "$0: anchor '$1' occurs $matches times in $FILE, must occur once." >&2
	echo "  The kernel source changed. fix: change the anchor in lab/modules/$(basename "$(dirname "$0")")/$(basename "$0")." >&2
	exit 1
}

# change LINE AWK-PROGRAM [TEXT]: runs the program on FILE, with the line in ENVIRON["ANCHOR"] and the text in
# ENVIRON["TEXT"].
change() {
	anchored "$1"
	ANCHOR=$1 TEXT=${3-} awk "$2" "$FILE" >"$FILE.new"
	mv "$FILE.new" "$FILE"
}

insert_before() { change "$1" '$0 == ENVIRON["ANCHOR"] { print ENVIRON["TEXT"] } { print }' "$2"; }
insert_after() { change "$1" '{ print } $0 == ENVIRON["ANCHOR"] { print ENVIRON["TEXT"] }' "$2"; }
# replace LINE TEXT [LINES]: replaces LINES lines (default 1), starting at that line.
replace() { change "$1" '$0 == ENVIRON["ANCHOR"] { print ENVIRON["TEXT"]; skip = '"${3-1}"' } skip > 0 { skip--; next } { print }' "$2"; }
# replace_function LINE TEXT: replaces a function, from the line with its name to its closing brace.
replace_function() { change "$1" '$0 == ENVIRON["ANCHOR"] { print ENVIRON["TEXT"]; skip = 1 } skip { if (/^}/) skip = 0; next } { print }' "$2"; }
