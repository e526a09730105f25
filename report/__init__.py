"""From run folders to the scaling and symmetry report; a pure function of files."""
