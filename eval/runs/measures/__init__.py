"""Which numbers does an answer get? What a measure is, and one file for each kind of answer."""
