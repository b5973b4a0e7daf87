import * as api from '../lib/api';
import type { Skill, SkillChange } from '../lib/types';

class Skills {
  list = $state.raw<Skill[]>([]);
  loading = $state(true);
  error = $state<string | null>(null);

  async load(): Promise<void> {
    this.loading = this.list.length === 0;
    this.error = null;
    try {
      this.list = await api.skills();
    } catch (error) {
      this.error = error instanceof Error ? error.message : 'The skills could not be read.';
    }
    this.loading = false;
  }

  async change(name: string, change: SkillChange): Promise<void> {
    const skill = await api.patchSkill(name, change);
    this.list = this.list.map((s) => (s.name === name ? skill : s));
  }
}

export const skills = new Skills();
