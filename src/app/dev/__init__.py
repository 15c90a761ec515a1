"""`microblog dev`: the site with an SMTP server that catches its mail, an inbox, and demo data."""
