// What the HTTP interface answers. The contract is docs/api.md.

export type Role = 'owner' | 'member' | 'viewer';

export interface User {
  id: string;
  name: string;
  role: Role;
}

/** Somebody on one channel. */
export interface Account {
  id: string;
  person_id: string;
  channel: string;
  account: string;
  name: string;
  role: Role;
  /** The role that the owner gave it; none where the configuration or the door decides. */
  granted: Role | null;
  listed: 'operator' | 'listed' | null;
  created_at: string;
  seen_at: string | null;
}

/** A stranger who asks to be let in. */
export interface Pairing {
  id: string;
  state: 'pending' | 'denied';
  channel: string;
  account: string;
  user: string;
  name: string;
  created_at: string;
  expires_at: string;
}

/** Who stopped all skills, and when. */
export interface Stopped {
  by: string;
  at: string;
}

export interface Status {
  version: string;
  uptime_s: number;
  provider: { name: string; model: string; offline: boolean };
  /** A circuit that is not closed says that the provider is left alone for a while. */
  providers?: { name: string; circuits?: { state: string; model: string; retry_in_s: number | null; last_error: string }[] }[];
  connectors?: { name: string; state: string; detail: string; heard_at?: string; event_at?: string; clock?: string }[];
  sandbox: { mode: string; summary: string; weaker?: string[]; fix?: string[] };
  skills: { total: number; available: number; stopped?: Stopped | null };
  warnings?: string[];
  /** Why no message is answered, while that is so. */
  safe_mode?: string | null;
  storage?: { free_bytes: number; min_free_bytes: number; ok: boolean };
  outbox?: { open: number; ambiguous: number; dead: number; expired: number };
  user: User;
}

export interface Session {
  id: string;
  title: string;
  channel: string;
  chat?: string;
  created_at: string;
  updated_at: string;
  message_count: number;
  preview: string;
  running: boolean;
}

export interface SessionPage {
  sessions: Session[];
  next_cursor: string | null;
}

export interface AttachmentInfo {
  name: string;
  media_type: string;
  size: number;
}

export interface AttachmentUpload {
  name: string;
  media_type: string;
  /** Base64, without a `data:` prefix. */
  data: string;
}

export interface Usage {
  input_tokens: number;
  output_tokens: number;
  cost_usd: number | null;
  estimated: boolean;
}

export type MessageStatus = 'ok' | 'failed' | 'cancelled' | 'pending' | 'running';
export type ToolStatus = 'running' | 'waiting' | 'ok' | 'failed' | 'interrupted' | 'cancelled' | 'refused';

export interface ToolCall {
  id: string;
  skill: string;
  status: string;
  input?: unknown;
  output?: unknown;
  duration_ms?: number | null;
}

export interface Message {
  id: string;
  role: 'user' | 'assistant';
  text: string;
  at: string;
  turn_id?: string | null;
  status: MessageStatus;
  channel?: string;
  attachments?: AttachmentInfo[];
  tool_calls?: ToolCall[];
  provider?: string | null;
  model?: string | null;
  usage?: Usage | null;
  edited_at?: string;
  deleted_at?: string;
}

export interface MessagePage {
  messages: Message[];
  seq: number;
  next_cursor: string | null;
}

export type ApprovalState = 'pending' | 'approved' | 'denied' | 'expired' | 'cancelled';
export type Decision = 'once' | 'session' | 'always' | 'deny' | 'reopen';

export interface PlanStep {
  title: string;
  tool?: string;
  args?: unknown;
}

/** A question whether something may be done. */
export interface Approval {
  id: string;
  session_id: string;
  turn_id: string;
  call_id: string;
  kind: 'call' | 'plan';
  tool: string;
  args: Record<string, unknown>;
  effects: string[];
  summary: string;
  reason: string;
  source?: string | null;
  command?: string | null;
  diff?: string | null;
  /** What "this session" and "always" would allow. */
  pattern?: { text: string } | null;
  gated: boolean;
  who: 'owner' | 'asker';
  state: ApprovalState;
  decision?: string | null;
  note?: string | null;
  decided_by?: string | null;
  decided_via?: string | null;
  decided_at?: string | null;
  reopened_by?: string | null;
  created_at: string;
  expires_at: string;
}

/** A lasting answer. */
export interface Grant {
  id: string;
  session_id: string | null;
  tool: string;
  pattern: { text: string };
  gated: boolean;
  made_by: string;
  created_at: string;
  expires_at: string | null;
  used: number;
}

export type SkillState = 'trusted' | 'discovered' | 'quarantined' | 'disabled' | 'unavailable' | 'broken';

export interface Skill {
  name: string;
  description: string;
  emoji?: string | null;
  version?: string | null;
  author?: string | null;
  category?: string | null;
  tags?: string[];
  kind: 'executable' | 'instruction' | 'broken';
  state: SkillState;
  reason?: string | null;
  runtime?: string | null;
  permissions: string[];
  effects?: string[];
  path?: string;
  warnings?: string[];
  shipped?: boolean;
  differs_from_shipped?: boolean;
  hash?: string;
  raw_secrets?: string[];
}

export interface Pair<T> {
  before: T | null;
  now: T | null;
}

export interface FileChange {
  path: string;
  change: 'added' | 'removed' | 'changed';
  mode: Pair<'file' | 'program' | 'link'>;
  size: Pair<number>;
  diff: string | null;
  cut: boolean;
}

export interface AskedPermission {
  permission: string;
  text: string;
  risk: string;
  raw_value: boolean;
  change: 'new' | 'granted' | 'gone';
}

/** What is different in a skill since it was trusted. */
export interface Difference {
  name: string;
  state: SkillState;
  hash: string;
  against: 'trusted' | 'shipped' | 'nothing';
  files: FileChange[];
  same: number;
  permissions: AskedPermission[];
}

export interface SkillChange {
  trusted?: boolean;
  enabled?: boolean;
  /** The content that the person looked at. */
  hash?: string;
  raw_secrets?: string[];
}

export type UsageBy = 'day' | 'model' | 'agent' | 'user' | 'channel' | 'session' | 'schedule';

/** What was spent on one day, by one person, and the like. */
export interface UsageLine {
  key: string;
  name?: string;
  calls: number;
  failed: number;
  input_tokens: number;
  cached_tokens: number;
  output_tokens: number;
  cost_usd: number;
  /** The same, exact. */
  cost: string;
  estimated: number;
  unpriced: number;
}

/** How a limit stands. */
export interface BudgetLeft {
  scope: string;
  key: string;
  name?: string;
  period: string;
  spent_usd: number;
  reserved_usd: number;
  soft_usd: number | null;
  hard_usd: number | null;
  left_usd: number | null;
  resets_at: string | null;
  text: string;
}

export interface UsageReport {
  by: UsageBy;
  since: string;
  time_zone: string;
  usage: UsageLine[];
  total: { cost_usd: number; cost: string };
  running: { calls: number; reserved_usd: number };
  currency: string;
  budgets: BudgetLeft[];
}

/** What one call for a message would cost. */
export interface Estimate {
  provider: string;
  model: string;
  input_tokens: number;
  max_output_tokens: number;
  cost_usd: number;
  max_cost_usd: number;
  free: boolean;
  budget: BudgetLeft[];
}

/** One thing that happened to a message. */
export interface Stage {
  stage: string;
  name: string;
  status: string;
  at: string;
  /** Null for a moment, and while it runs. */
  duration_ms: number | null;
  detail: Record<string, unknown>;
}

export interface Trace {
  message_id: string;
  session_id: string;
  turn_id: string | null;
  state: string;
  text: string;
  usage: Usage;
  stages: Stage[];
}
