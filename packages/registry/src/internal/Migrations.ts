/**
 * Migrations: how the registry's tables came to be, one numbered step after another, the same for SQLite and PostgreSQL.
 *
 * A step that has been released is never changed; what is to be different is a new step. What was done is recorded in
 * `parley_migrations`, in the transaction that did it.
 */

/** Where the dialects differ. */
export interface Dialect {
  readonly name: "sqlite" | "postgres"
  /** Text that compares byte by byte. */
  readonly key: string
  readonly text: string
  readonly integer: string
  readonly real: string
  readonly bytes: string
  /** What follows a table's columns; `clustered` where the primary key is not a number. */
  readonly table: string
  readonly clustered: string
}

export const sqlite: Dialect = {
  name: "sqlite",
  key: "TEXT",
  text: "TEXT",
  integer: "INTEGER",
  real: "REAL",
  bytes: "BLOB",
  table: "STRICT",
  clustered: "STRICT, WITHOUT ROWID"
}

export const postgres: Dialect = {
  name: "postgres",
  key: 'text COLLATE "C"',
  text: "text",
  integer: "bigint",
  real: "double precision",
  bytes: "bytea",
  table: "",
  clustered: ""
}

/** One step. */
export interface Migration {
  readonly id: number
  readonly name: string
  readonly statements: (dialect: Dialect) => ReadonlyArray<string>
}

/** The table that records what was done. */
export const record = (d: Dialect): string =>
  `CREATE TABLE IF NOT EXISTS parley_migrations (id ${d.integer} PRIMARY KEY, name ${d.text} NOT NULL, at ${d.integer} NOT NULL) ${d.table}`

export const migrations: ReadonlyArray<Migration> = [
  {
    id: 1,
    name: "log, agents, reports, claims, traces, verdicts, secrets, session memory",
    statements: (d) => [
      // One row: its lock is the log's lock. `trimmed` is the highest cursor that retention took.
      `CREATE TABLE parley_log (
        id ${d.integer} PRIMARY KEY CHECK (id = 1), cursor ${d.integer} NOT NULL, trimmed ${d.integer} NOT NULL
      ) ${d.table}`,
      "INSERT INTO parley_log (id, cursor, trimmed) VALUES (1, 0, 0)",
      `CREATE TABLE parley_events (
        cursor ${d.integer} PRIMARY KEY, at ${d.integer} NOT NULL, type ${d.key} NOT NULL, fact ${d.text} NOT NULL
      ) ${d.table}`,
      "CREATE INDEX parley_events_type ON parley_events (type, cursor)",
      `CREATE TABLE parley_agents (id ${d.key} PRIMARY KEY, agent ${d.text} NOT NULL) ${d.clustered}`,
      // Apart from the agents: leaving and registering again does not take it away.
      `CREATE TABLE parley_counts (
        agent ${d.key} PRIMARY KEY, completed ${d.integer} NOT NULL, failed ${d.integer} NOT NULL
      ) ${d.clustered}`,
      `CREATE TABLE parley_edges (
        agent ${d.key} NOT NULL, capability ${d.key} NOT NULL, reviewer ${d.key} NOT NULL, edge ${d.text} NOT NULL,
        PRIMARY KEY (agent, capability, reviewer)
      ) ${d.clustered}`,
      // The evidence chain: one row a link.
      `CREATE TABLE parley_reports (
        seq ${d.integer} PRIMARY KEY, hash ${d.text} NOT NULL, cursor ${d.integer} NOT NULL, at ${d.integer} NOT NULL,
        agent ${d.key} NOT NULL, capability ${d.key} NOT NULL, score ${d.real} NOT NULL, ema ${d.real} NOT NULL,
        report ${d.text} NOT NULL
      ) ${d.table}`,
      "CREATE INDEX parley_reports_agent ON parley_reports (agent, cursor)",
      "CREATE INDEX parley_reports_capability ON parley_reports (agent, capability, cursor)",
      // SHA-256 of the claim: of one size, whatever somebody put in it.
      `CREATE TABLE parley_claims (digest ${d.bytes} PRIMARY KEY) ${d.clustered}`,
      `CREATE TABLE parley_traces (
        cursor ${d.integer} PRIMARY KEY, at ${d.integer} NOT NULL, time ${d.integer} NOT NULL, task ${d.key} NOT NULL,
        sender ${d.key} NOT NULL, receiver ${d.key} NOT NULL, type ${d.key} NOT NULL, trace ${d.text} NOT NULL
      ) ${d.table}`,
      "CREATE INDEX parley_traces_task ON parley_traces (task, cursor)",
      "CREATE INDEX parley_traces_sender ON parley_traces (sender, cursor)",
      "CREATE INDEX parley_traces_receiver ON parley_traces (receiver, cursor)",
      "CREATE INDEX parley_traces_type ON parley_traces (type, cursor)",
      `CREATE TABLE parley_verdicts (
        cursor ${d.integer} PRIMARY KEY, at ${d.integer} NOT NULL, task ${d.key} NOT NULL, verdict ${d.text} NOT NULL
      ) ${d.table}`,
      "CREATE INDEX parley_verdicts_task ON parley_verdicts (task, cursor)",
      `CREATE TABLE parley_secrets (name ${d.key} PRIMARY KEY, value ${d.text} NOT NULL) ${d.clustered}`,
      `CREATE TABLE parley_sessions (session ${d.key} PRIMARY KEY, written ${d.integer} NOT NULL) ${d.clustered}`,
      "CREATE INDEX parley_sessions_written ON parley_sessions (written)",
      `CREATE TABLE parley_memory (
        session ${d.key} NOT NULL, name ${d.key} NOT NULL, value ${d.text} NOT NULL, expires ${d.integer} NOT NULL,
        PRIMARY KEY (session, name)
      ) ${d.clustered}`,
      "CREATE INDEX parley_memory_expires ON parley_memory (expires)"
    ]
  },
  {
    id: 2,
    name: "bytes of events, traces and verdicts, and whose verdicts are",
    statements: (d) => [
      // With the log's lock, so that they are counted in the transaction that writes or takes away: see `Kept`.
      ...["events", "traces", "verdicts"].map(
        (table) => `ALTER TABLE parley_log ADD COLUMN ${table} ${d.integer} NOT NULL DEFAULT 0`
      ),
      `UPDATE parley_log SET
        events = (SELECT coalesce(sum(octet_length(fact) + 128), 0) FROM parley_events),
        traces = (
          SELECT coalesce(
            sum(octet_length(trace) + 2 * (octet_length(task) + octet_length(sender) + octet_length(receiver)) + 256), 0
          ) FROM parley_traces
        ),
        verdicts = (SELECT coalesce(sum(octet_length(verdict) + 2 * octet_length(task) + 256), 0) FROM parley_verdicts)`,
      // Who published what stands from before is not known: it is one publisher's.
      `ALTER TABLE parley_verdicts ADD COLUMN publisher ${d.key} NOT NULL DEFAULT ''`,
      "CREATE INDEX parley_verdicts_publisher ON parley_verdicts (publisher, cursor)",
      `CREATE TABLE parley_publishers (publisher ${d.key} PRIMARY KEY, bytes ${d.integer} NOT NULL) ${d.clustered}`,
      "CREATE INDEX parley_publishers_bytes ON parley_publishers (bytes, publisher)",
      "INSERT INTO parley_publishers SELECT '', verdicts FROM parley_log WHERE verdicts > 0"
    ]
  },
  {
    id: 3,
    name: "session memory: whose it is, and how much",
    statements: (d) => [
      // New tables: what does not count would write to the old ones.
      `CREATE TABLE parley_memory_sessions (
        session ${d.key} PRIMARY KEY, keys ${d.integer} NOT NULL, bytes ${d.integer} NOT NULL
      ) ${d.clustered}`,
      `CREATE TABLE parley_memory_entries (
        session ${d.key} NOT NULL, name ${d.key} NOT NULL, expires ${d.integer} NOT NULL, holder ${d.key} NOT NULL,
        bytes ${d.integer} NOT NULL, value ${d.text} NOT NULL, PRIMARY KEY (session, name)
      ) ${d.clustered}`,
      `CREATE TABLE parley_memory_held (
        holder ${d.key} NOT NULL, part ${d.integer} NOT NULL, sessions ${d.integer} NOT NULL, bytes ${d.integer} NOT NULL,
        PRIMARY KEY (holder, part)
      ) ${d.clustered}`,
      // Who wrote what stands from before is not known: it counts in all, and for nobody.
      `INSERT INTO parley_memory_entries
        SELECT session, name, expires, '', 262 + octet_length(session) + 2 * octet_length(name) + octet_length(value), value
        FROM parley_memory`,
      `INSERT INTO parley_memory_sessions
        SELECT session, count(*), sum(bytes) FROM parley_memory_entries GROUP BY session`,
      `INSERT INTO parley_memory_held
        SELECT 'all', 0, count(*), coalesce(sum(bytes), 0) FROM parley_memory_sessions`,
      "DROP TABLE parley_memory",
      "DROP TABLE parley_sessions",
      "CREATE INDEX parley_memory_entries_expires ON parley_memory_entries (expires)",
      "CREATE INDEX parley_memory_entries_holder ON parley_memory_entries (session, holder)"
    ]
  }
]

/** The steps that are still to be done, or why this database is not for us. */
export const pending = (done: ReadonlyArray<number>): ReadonlyArray<Migration> | string => {
  const known = new Set(migrations.map(({ id }) => id))
  const unknown = done.filter((id) => !known.has(id))
  if (unknown.length > 0)
    return `it was written by a newer Parley (its migration ${Math.max(...unknown)} is not known here): run that one, or another database`
  return migrations.filter(({ id }) => !done.includes(id))
}
