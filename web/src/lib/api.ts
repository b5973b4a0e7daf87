import type {
  Account,
  Approval,
  Decision,
  Difference,
  Estimate,
  Grant,
  MessagePage,
  Pairing,
  Role,
  Session,
  SessionPage,
  Skill,
  SkillChange,
  Status,
  Trace,
  UsageBy,
  UsageReport,
  User,
} from './types';

export class ApiError extends Error {
  /** 0 when the daemon could not be reached. */
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

type OnUnauthorized = () => void;
let onUnauthorized: OnUnauthorized = () => {};

/** Called whenever a request is answered with 401. */
export function whenUnauthorized(handler: OnUnauthorized): void {
  onUnauthorized = handler;
}

async function request<T>(method: string, path: string, body?: unknown): Promise<T> {
  let response: Response;
  try {
    response = await fetch(`/api/v1${path}`, {
      method,
      credentials: 'same-origin',
      headers: body === undefined ? {} : { 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  } catch {
    throw new ApiError(0, 'UNREACHABLE', 'Nexflow does not answer. Is it running?');
  }
  if (!response.ok) throw await failure(response, path);
  if (response.status === 204) return undefined as T;
  return (await response.json()) as T;
}

async function failure(response: Response, path: string): Promise<ApiError> {
  if (response.status === 401 && !path.startsWith('/auth/')) onUnauthorized();
  const body = (await response.json().catch(() => null)) as { error?: { code?: string; message?: string } } | null;
  const message = body?.error?.message ?? `The request failed with status ${response.status}.`;
  return new ApiError(response.status, body?.error?.code ?? 'HTTP_ERROR', message);
}

const query = (values: Record<string, string | number | null | undefined>): string => {
  const given = Object.entries(values).filter(([, v]) => v !== null && v !== undefined && v !== '');
  return given.length === 0 ? '' : `?${new URLSearchParams(given.map(([k, v]) => [k, String(v)]))}`;
};
const part = encodeURIComponent;

export const login = (proof: { code: string } | { token: string }) => request<{ user: User }>('POST', '/auth/login', proof);
export const logout = () => request<void>('POST', '/auth/logout', {});
export const status = () => request<Status>('GET', '/status');

export const sessions = (q: string, cursor: string | null = null) =>
  request<SessionPage>('GET', `/sessions${query({ limit: 40, q, cursor })}`);
export const session = (id: string) => request<Session>('GET', `/sessions/${part(id)}`);
export const deleteSession = (id: string) => request<void>('DELETE', `/sessions/${part(id)}`);
export const messages = (id: string, before: string | null = null) =>
  request<MessagePage>('GET', `/sessions/${part(id)}/messages${query({ limit: 60, before })}`);

/** Where the content of a message's attachment is. */
export const attachmentUrl = (message: string, n: number) => `/api/v1/messages/${part(message)}/attachments/${n}`;

export const trace = (message: string) => request<Trace>('GET', `/messages/${part(message)}/trace`);

export const usage = (by: UsageBy, days: number) => request<UsageReport>('GET', `/usage${query({ by, days })}`);
/** Of pictures only their number matters: their content stays here. */
export const estimate = (message: string, session_id: string | null, pictures: number) =>
  request<Estimate>('POST', '/estimate', {
    message,
    ...(session_id ? { session_id } : {}),
    attachments: Array.from({ length: pictures }, (_, n) => ({ name: `${n}`, media_type: 'image/png', data: '' })),
  });

export const skills = async () => (await request<{ skills: Skill[] }>('GET', '/skills')).skills;
export const patchSkill = (name: string, change: SkillChange) => request<Skill>('PATCH', `/skills/${part(name)}`, change);
export const skillDiff = (name: string) => request<Difference>('GET', `/skills/${part(name)}/diff`);
export const stopSkills = () => request<void>('POST', '/skills/stop', {});
export const startSkills = () => request<void>('POST', '/skills/start', {});

export const approvals = async (state: 'pending' | 'all') =>
  (await request<{ approvals: Approval[] }>('GET', `/approvals${query({ state, limit: 60 })}`)).approvals;
export const decide = (id: string, decision: Decision, more: { reason?: string; steps?: number[] } = {}) =>
  request<Approval>('POST', `/approvals/${part(id)}`, { decision, ...more });
export const grants = async () => (await request<{ grants: Grant[] }>('GET', '/grants')).grants;
export const revoke = (id: string) => request<void>('DELETE', `/grants/${part(id)}`);

export const users = async () => (await request<{ users: Account[] }>('GET', '/users')).users;
export const setRole = (id: string, role: Role) => request<Account>('PATCH', `/users/${part(id)}`, { role });
export const removeUser = (id: string) => request<void>('DELETE', `/users/${part(id)}`);
export const pairings = async () => (await request<{ pairings: Pairing[] }>('GET', '/pairings')).pairings;
export const pair = (which: { id?: string; code?: string; role?: Role; decision?: 'approve' | 'deny' }) =>
  request<{ state: string; user?: Account }>('POST', '/pairings', which);
