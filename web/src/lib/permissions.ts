// What a skill may do, in words for a person. The grammar is that of SKILL.md.

export interface Permission {
  text: string;
  /** Worth a second look before it is trusted. */
  strong: boolean;
}

export function describe(permission: string): Permission {
  const [word = '', ...more] = permission.split(':');
  const rest = more.join(':');
  switch (word) {
    case 'shell':
      return strong('Run programs that are installed on this machine');
    case 'exec':
      return strong(`Run the program ${rest}`);
    case 'filesystem':
      return filesystem(rest);
    case 'network':
      return network(rest);
    case 'env':
      return plain(`Read the setting ${rest}`);
    case 'secret':
      return secret(rest);
    case 'memory':
      return rest === 'write' ? plain('Keep new facts in memory') : plain('Read what Nexflow remembers');
    case 'schedule':
      return plain('Set reminders and scheduled jobs');
    case 'message':
      return strong('Send messages in your name');
    case 'llm':
      return plain(rest ? `Ask the model (${rest})` : 'Ask the model');
    default:
      return strong(permission);
  }
}

function filesystem(rest: string): Permission {
  if (rest === '') return plain('Read and write files in its own work folder');
  const [mode, ...path] = rest.split(':');
  const place = path.join(':');
  const where = place.startsWith('workspace') ? `its own work folder${place.slice('workspace'.length)}` : place;
  if (mode === 'read') return place.startsWith('workspace') ? plain(`Read files in ${where}`) : strong(`Read files in ${where}`);
  return place.startsWith('workspace') ? plain(`Read and write files in ${where}`) : strong(`Read, change and delete files in ${where}`);
}

function network(rest: string): Permission {
  if (rest === '') return strong('Reach any public web site');
  if (rest === 'loopback') return plain('Use network connections inside its own sandbox');
  const split = rest.lastIndexOf(':');
  const host = split > 0 ? rest.slice(0, split) : rest;
  const ports = split > 0 ? rest.slice(split + 1) : '';
  const on = ports === '' || ports === '443' || ports === '80,443' ? '' : ports === '*' ? ' on any port' : ` on port ${ports.replaceAll(',', ', ')}`;
  const name = host.startsWith('*.') ? `sites under ${host.slice(2)}` : host;
  return plain(`Reach ${name}${on}`);
}

function secret(rest: string): Permission {
  const [name = '', host] = rest.split('@');
  return strong(host ? `Use the secret ${name}, only with ${host}` : `Use the secret ${name}`);
}

const plain = (text: string): Permission => ({ text, strong: false });
const strong = (text: string): Permission => ({ text, strong: true });
