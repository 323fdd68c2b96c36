"""`accelerate launch -m train RECIPE [--field value ...]`: the trainer's command line."""

from train.command import main

if __name__ == "__main__":
    raise SystemExit(main())
