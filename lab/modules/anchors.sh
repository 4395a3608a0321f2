# Changes a copy of a file of the distribution's kernel source at anchors; to be sourced. An anchor is a whole line, and
# nothing but anchors is named by those who use this, so no kernel text lives in this repository. Each must stand there
# exactly once: a source that moved on fails the build, not the lab.
# FILE is the file that is changed.

# anchored LINE: fails where it does not stand there once.
anchored() {
	matches=$(grep -cxF -e "$1" "$FILE" || :)
	[ "$matches" -eq 1 ] && return
	echo "$0: anchor '$1' stands $matches times in $FILE, wanted once." >&2
	echo "  The kernel source changed: mend the anchor in lab/modules/$(basename "$(dirname "$0")")/$(basename "$0")." >&2
	exit 1
}

# change LINE AWK-PROGRAM [TEXT]: runs the program, which finds the line in ANCHOR and the text in TEXT.
change() {
	anchored "$1"
	ANCHOR=$1 TEXT=${3-} awk "$2" "$FILE" >"$FILE.new"
	mv "$FILE.new" "$FILE"
}

insert_before() { change "$1" '$0 == ENVIRON["ANCHOR"] { print ENVIRON["TEXT"] } { print }' "$2"; }
insert_after() { change "$1" '{ print } $0 == ENVIRON["ANCHOR"] { print ENVIRON["TEXT"] }' "$2"; }
# replace LINE TEXT [LINES]: puts the text in place of that line and those after it, 1 line where none is said.
replace() { change "$1" '$0 == ENVIRON["ANCHOR"] { print ENVIRON["TEXT"]; skip = '"${3-1}"' } skip > 0 { skip--; next } { print }' "$2"; }
# replace_function LINE TEXT: from the line of its name to the brace that ends it.
replace_function() { change "$1" '$0 == ENVIRON["ANCHOR"] { print ENVIRON["TEXT"]; skip = 1 } skip { if (/^}/) skip = 0; next } { print }' "$2"; }
