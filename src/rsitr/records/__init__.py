"""What is written down: the identity of the code behind a number, and the certificates that connect identities."""
