"""A bot by discord.py, to check our own fake of Discord with a client that others wrote.

    discord_peer.py URL TOKEN

Says on standard output what it sees, and does what it is told in messages.
"""

import sys

import discord
import yarl

url, token = sys.argv[1:3]
discord.http.Route.BASE = f"{url}/api/v10"
discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(url.replace("http", "ws", 1) + "/gateway/")


def tell(*words):
    print(*words, flush=True)


class Bot(discord.Client):
    async def setup_hook(self):
        self.tree = discord.app_commands.CommandTree(self)

        @self.tree.command(name="ping", description="Answers")
        async def ping(interaction: discord.Interaction, text: str = ""):
            tell("ping", text)
            await interaction.response.defer(ephemeral=True)
            await interaction.edit_original_response(content="pong")

        await self.tree.sync()

    async def on_ready(self):
        guild = self.guilds[0]
        names = sorted(channel.name for channel in guild.text_channels)
        threads = sorted(thread.name for thread in guild.threads)
        tell("ready", self.user.name, guild.name, *names, *threads)

    async def on_resumed(self):
        tell("resumed")

    async def on_message(self, message):
        if message.author == self.user:
            return
        tell("message", message.author.name, message.content)
        if message.content == "reply":
            await message.reply("a reply")
        elif message.content == "long":
            try:
                await message.channel.send("x" * 2001)
            except discord.HTTPException as error:
                tell("refused", error.status, error.code)
        elif message.content == "grow":
            post = await message.channel.send("a")
            await post.edit(content="ab")
        elif message.content == "fast":
            for n in range(12):
                await message.channel.send(f"n{n}")
            tell("fast done")

    async def on_message_edit(self, before, after):
        tell("edited", after.content)

    async def on_message_delete(self, message):
        tell("deleted", message.id)


intents = discord.Intents.none()
intents.guilds = True
intents.messages = True
intents.message_content = True
Bot(intents=intents).run(token, log_handler=None)
