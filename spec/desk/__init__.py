"""The reviewer's desk: from a patch to its rules, from a mail to checked citations."""
