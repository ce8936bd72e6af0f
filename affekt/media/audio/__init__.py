"""Sound files and MFCC."""
