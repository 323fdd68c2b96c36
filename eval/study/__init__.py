"""Which of two runs do people prefer? A blinded page to judge them on, and what its votes say."""
