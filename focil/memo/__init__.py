"""The second paper, MEMO (Zhou, Wang, Ye, Zhan, ICLR 2023), and the offline methods that it is compared
with."""
