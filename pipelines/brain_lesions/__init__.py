"""Brain lesions on MR: white-matter lesions and tumour, from whatever sequences arrived."""
