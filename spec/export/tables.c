/* Looks up in tables what a model for Spin can do; see tables.py. */
void dfs_uerror(char *);

static unsigned seen[WORDS];   /* the state of which the steps are listed */
static int found[MOST], count = -1;

static unsigned code(const unsigned *row, const int *look)
{
	return row[look[0]] >> look[1] & (unsigned)look[2];
}

static void list(const unsigned *row, int node)
{
	const int *at = numbers + node;
	int n, looks;

	for (n = *at++; n > 0; n--)
		found[count++] = *at++;
	for (looks = *at++; looks > 0; looks--) {
		int branch = at[4 + code(row, at)];

		if (branch >= 0)
			list(row, branch);
		at += 4 + at[3];
	}
}

static int steps(const unsigned *row)
{
	int thread;

	if (count >= 0 && !memcmp(seen, row, sizeof(seen)))
		return count;
	memcpy(seen, row, sizeof(seen));
	count = 0;
	for (thread = 0; thread < THREADS; thread++)
		list(row, from[thread][code(row, place[thread])]);
	return count;
}

/* The leaf of a tree; below zero: it is not known. */
static int leaf(const unsigned *row, int tree)
{
	while (tree >= 0)
		tree = numbers[tree + 4 + code(row, numbers + tree)];
	return -2 - tree;
}

/* What Spin prints and counts as an error of the search. */
static void say(const char *id)
{
	char text[80];

	snprintf(text, sizeof(text), "assertion violated %s", id);
	dfs_uerror(text);
}

static void take(unsigned *row, int number)
{
	const int *command;
	int trees, word, n;

	steps(row);
	command = numbers + found[number];
	for (trees = command[2 * WORDS]; trees > 0; trees--) {
		int set = leaf(row, command[2 * WORDS + trees]);

		for (n = 0; set > 0 && sets[set][n] >= 0; n++)
			say(ids[sets[set][n]]);
		if (RULES && set < 0)
			say("NOT_MET");
	}
	for (word = 0; word < WORDS; word++)
		row[word] = (row[word] & (unsigned)command[word]) |
			    (unsigned)command[WORDS + word];
}

/* Tells which properties of states are violated; a deadlock is one. Returns 0. */
static int judge(const unsigned *row)
{
	int n, waits = 0;

	for (n = 0; n < PROPERTIES; n++)
		if (leaf(row, properties[n][1]) != 1)
			say(ids[properties[n][0]]);
	for (n = 0; n < THREADS; n++)
		waits |= !resting[n][code(row, place[n])];
	if (waits && steps(row) == 0)
		say("deadlock");
	return 0;
}

static void start(unsigned *row, int number)
{
	memcpy(row, initial[number], sizeof(initial[number]));
}
