"""What is learnt? One file per objective; each is a module whose forward gives one loss per item."""
