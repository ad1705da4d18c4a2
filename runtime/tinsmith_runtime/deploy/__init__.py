"""A folder that always loads a whole bundle; call `install` and `trial`, `switch` renames."""
